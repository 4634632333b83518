"""Commands with the network cut; what is asked of sockets all the same is noted by `tests/audit`."""

import functools
import shlex
import shutil
import subprocess
import sys

UP = "ip link set lo up 2>/dev/null || python3 -c \"import fcntl,socket,struct; s=socket.socket(); fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 0x49))\""


@functools.cache
def may_unshare() -> bool:
    """Whether this machine lets us make a network namespace."""
    return (
        shutil.which("unshare") is not None and not subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode
    )


def cut(*words: str, refused: bool = False) -> tuple[list[str], dict[str, str]]:
    """A command of Python with the network cut, and what its environment needs: in a namespace, or with sockets that refuse."""
    if refused or not may_unshare():
        return [sys.executable, *words], {"SLMFORGE_TEST_REFUSE": "1"}
    return ["unshare", "-rn", "bash", "-c", f"{UP}; exec {shlex.join([sys.executable, *words])}"], {}
