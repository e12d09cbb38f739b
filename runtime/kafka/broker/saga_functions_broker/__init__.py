"""The binary of the embedded broker."""

import sysconfig
from pathlib import Path

BINARY = Path(__file__).with_name("broker" + (sysconfig.get_config_var("EXE") or ""))
