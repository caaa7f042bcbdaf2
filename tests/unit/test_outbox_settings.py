"""What an operator may set for Kafka, and what is refused before anything starts."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from serve_app.cluster import StartError
from serve_app.config import Settings
from serve_app.runner import running_service


def test_options_are_a_json_object() -> None:
    """As librdkafka names them."""
    settings = Settings.model_validate(
        {"kafka_options": '{"security.protocol": "ssl", "socket.keepalive.enable": true}'}
    )
    assert settings.kafka() == {"security.protocol": "ssl", "socket.keepalive.enable": True}
    assert Settings().kafka() == {}


@pytest.mark.parametrize("text", ["", "x", "[]", "7", "null", '{"a": 1', '"sasl.password"'])
def test_what_is_no_object_is_refused(text: str) -> None:
    """When the settings are read."""
    with pytest.raises(ValidationError, match="must be a JSON object"):
        Settings.model_validate({"kafka_options": text})


def test_a_password_among_the_options_is_not_shown() -> None:
    """Neither where settings are printed nor where they are refused."""
    good = Settings.model_validate({"kafka_options": '{"sasl.password": "hunter2"}'})
    assert "hunter2" not in repr(good)
    assert "hunter2" not in str(good)
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"kafka_options": '{"sasl.password": "hunter2"'})
    assert "hunter2" not in str(refused.value)


def test_a_service_that_could_not_keep_its_promise_is_not_started(tmp_path: Path) -> None:
    """An option that breaks the order of events is told before anything is started."""
    wished = {"home": tmp_path / "home", "port": 20_999, "kafka_brokers": "localhost:1"}
    settings = Settings.model_validate(wished | {"kafka_options": '{"acks": 0}'})
    with pytest.raises(StartError, match="AUMOS_PRIVACY_KAFKA_OPTIONS: acks"), running_service(settings, print):
        pass
    assert not (tmp_path / "home" / "postgres").exists()
