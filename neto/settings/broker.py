"""What the settings say of the broker -> how to reach it."""

from __future__ import annotations

from neto.agents.mqtt import Broker, tls_context
from neto.errors import NetoError
from neto.settings.main import Mqtt


def broker(mqtt: Mqtt) -> Broker:
    """Where the broker is, and who we are to it. Raises NetoError when a file cannot be used."""
    password = None
    if mqtt.password_file:
        try:
            password = mqtt.password_file.read_text().partition("\n")[0]
        except (OSError, UnicodeDecodeError) as error:
            raise NetoError(f"{mqtt.password_file}: no use as a password: {error}") from error
    tls = tls_context(mqtt.ca_file, mqtt.certificate_file, mqtt.key_file) if mqtt.tls else None
    return Broker(mqtt.host, mqtt.port, mqtt.topic, mqtt.username, password, tls, mqtt.keepalive_s)
