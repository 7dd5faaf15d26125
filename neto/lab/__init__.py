"""An emulated WAN that speaks the real protocols on loopback: demo, test world and judge."""
