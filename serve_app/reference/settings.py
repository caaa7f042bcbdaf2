"""What an operator can choose, from the fields of `Settings`."""

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from serve_app.config import Settings
from serve_app.reference.markdown import code, table


def settings_page() -> str:
    """Every variable of the environment with its default."""
    prefix = str(Settings.model_config["env_prefix"])
    rows = [
        (code(prefix + name.upper()), code(_default(field)), field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return (
        "Variables of the environment, read when the service starts. One that is not valid ends the start.\n"
        "Beside them the command line and the client read `AUMOS_PRIVACY_URL` and `AUMOS_PRIVACY_TOKEN`.\n"
        "Two data folders with two ports are two services.\n\n" + table(("variable", "default", "what it is"), rows)
    )


def _default(field: FieldInfo) -> str:
    absent = field.default is None or field.default is PydanticUndefined
    text = "" if absent else str(field.default)
    return text.lower() if isinstance(field.default, bool) else text
