"""The edge on this machine: whether nginx is there, and likes what was written for it."""

from cephstorage.bootstrap.doctor.finding import Finding
from cephstorage.bootstrap.edge import folders
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.errors import InvalidSetting
from cephstorage.edge.nginx import complaint, program


async def examine_edge(settings: Settings) -> list[Finding]:
    """Look at nginx and at the configuration that an edge has written here; without one there is little to say."""
    try:
        file = folders(settings).config_file
    except InvalidSetting as error:
        return [Finding("edge", False, error.msg, "Set CEPHSTORAGE_EDGE_USER.")]
    try:
        nginx = program()
    except InvalidSetting as error:
        if file.exists():
            return [Finding("edge", False, f"{file} is there, but nginx is not", error.msg)]
        return [Finding("edge", True, "none on this machine; nginx is not installed")]
    if not file.exists():
        return [Finding("edge", True, f"none on this machine; {nginx} is there for 'cephstorage edge run'")]
    trouble = await complaint(file)
    if trouble is not None:
        return [Finding("edge", False, f"nginx refuses {file}: {trouble}", "See 'cephstorage edge check'.")]
    return [Finding("edge", True, f"{nginx} accepts {file}")]
