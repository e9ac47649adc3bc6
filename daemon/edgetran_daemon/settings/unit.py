"""The text of the systemd unit that runs the daemon, shut in as far as a runtime allows.

What a runtime or a sensor needs and must therefore stay open: /sys (clocks, temperatures,
power; onnxruntime crashes where /sys/devices/system/cpu is hidden), /proc/stat and
/proc/meminfo, the devices named below, setting its own CPU affinity, and memory that is both
writable and executable, since OpenVINO compiles its kernels.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

NAME = "edgetran-daemon.service"
USER = "edgetran"
STATE = Path("/var/lib/edgetran")
GROUPS = ("i2c", "dialout", "video", "render", "plugdev")  # meters, vcgencmd, GPU, USB
DEVICES = (
    "char-i2c",  # INA219, INA226, INA260
    "char-ttyUSB",  # USB meters
    "char-ttyACM",
    "char-rfcomm",  # Bluetooth meters
    "/dev/vcio",  # vcgencmd of a Raspberry Pi
    "char-usb_device",  # Neural Compute Stick 2
    "char-drm",  # Intel GPU
    "char-accel",  # Intel NPU
    "char-nvidia",
    "char-nvmap",
    "/dev/nvhost-ctrl",  # Jetson
    "/dev/nvhost-ctrl-gpu",
    "/dev/nvhost-gpu",
    "/dev/nvhost-as-gpu",
    "/dev/nvhost-prof-gpu",
)
START_S = 600  # all models are loaded and probed first
STOP_S = 30  # more than the drain takes
WATCHDOG_S = 30

COMMON = """\
[Unit]
Description=edgetran-daemon, serves and measures transformer models on this board
After=network.target
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
Restart=on-failure
RestartSec=2
WatchdogSec={watchdog}
TimeoutStartSec={start}
TimeoutStopSec={stop}
# SIGTERM is for the daemon alone: its workers finish what they are computing.
KillMode=mixed
# A model too large for the board costs its worker, which is started again, not the daemon.
OOMPolicy=continue
# A new model's process steps aside while it loads, and back.
LimitNICE=+0
UMask=0027
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
"""

SYSTEM = """\
User={user}
Group={user}
{groups}StateDirectory=edgetran
StateDirectoryMode=0750
RuntimeDirectory=edgetran
RuntimeDirectoryMode=0750
ConfigurationDirectory=edgetran
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictNamespaces=yes
RemoveIPC=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
DevicePolicy=closed
{devices}
[Install]
WantedBy=multi-user.target
"""

FOR_USER = """\

[Install]
WantedBy=default.target
"""


def system_unit(program: Sequence[str], config: Path, groups: Sequence[str], in_home: bool) -> str:
    """`groups`: those of GROUPS that exist; `in_home`: the program lies under a home directory."""
    joined = f"SupplementaryGroups={' '.join(groups)}\n" if groups else ""
    devices = "".join(f"DeviceAllow={device} rw\n" for device in DEVICES)
    home = "read-only" if in_home else "yes"
    return _common(program, config) + SYSTEM.format(
        user=USER, groups=joined, devices=devices, home=home
    )


def user_unit(program: Sequence[str], config: Path) -> str:
    """For a systemd of the user's own, which may shut in only little."""
    return _common(program, config) + FOR_USER


def _common(program: Sequence[str], config: Path) -> str:
    command = " ".join(_quoted(part) for part in (*program, "--config", str(config)))
    return COMMON.format(command=command, watchdog=WATCHDOG_S, start=START_S, stop=STOP_S)


def _quoted(part: str) -> str:
    """systemd reads % and $ on its own account."""
    return shlex.quote(part.replace("%", "%%").replace("$", "$$"))
