"""Sending DICOM files to an archive over DICOMweb, and looking whether they arrived."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pydicom import Dataset

from napari_mlbseg.errors import UserError
from napari_mlbseg.formats.dicom.reading import read_dataset

if TYPE_CHECKING:
    from dicomweb_client.api import DICOMwebClient

_MEANT: Final = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"),
    *("Rows", "Columns", "NumberOfFrames", "PixelData"),
    *("SegmentSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"),
)
"""What has to arrive as it was; an archive may rightly change what it knows of the patient."""
_UNTRUSTED: Final = "CERTIFICATE_VERIFY_FAILED"
_AS_STORED: Final = (("application/dicom", "*"),)
_IN_ONE_PIECE: Final = 1 << 28
"""Bytes of a message; longer ones go in chunks, which not every archive takes."""
_TIMEOUT_S: Final = (10.0, 300.0)
"""To connect, and to answer."""


def push(files: Sequence[Path], url: str) -> tuple[str, ...]:
    """Send DICOM files to the archive at a DICOMweb address, one by one; returns their UIDs.

    Each is fetched back and compared: its geometry, its pixels or contours and its segments. Name
    and password come from the user's netrc file, certificates besides the system's from the file
    that the environment variable REQUESTS_CA_BUNDLE names.

    Raises
    ------
    UserError
        If dicomweb-client is not installed, if the address would send names of patients in the
        clear or holds a password, if the archive cannot be reached or refuses a file, or if what
        comes back is not what was sent. Files before that one have arrived.
    """
    require_archive(url)
    client = _client(url)
    arrived = []
    for path in files:
        sent = read_dataset(path)
        with _explained(url, path):
            _require_stored(client.store_instances([sent]), path)
            uids = (sent.StudyInstanceUID, sent.SeriesInstanceUID, sent.SOPInstanceUID)
            found = client.retrieve_instance(*uids, media_types=_AS_STORED)
        lost = [name for name in _MEANT if sent.get(name) != found.get(name)]
        if lost:
            raise UserError(
                f"{path} did not arrive at {url} as it was: {', '.join(lost)} differ. Do not use "
                "what is there, and tell whoever runs the archive."
            )
        arrived.append(str(sent.SOPInstanceUID))
    return tuple(arrived)


def require_archive(url: str) -> None:
    """Raise UserError unless an address can be sent to, before anything is written."""
    try:
        parts = urlsplit(url)
        host, secret = parts.hostname or "", parts.username or parts.password
    except ValueError:
        parts, host, secret = urlsplit(""), "", None
    if parts.scheme not in ("https", "http") or not host:
        raise UserError(
            f"{url!r} is no address of an archive; write https://HOST/dicom-web or the like."
        )
    if secret:
        raise UserError(
            "The address holds a name or a password, which others could read in the list of "
            "processes. Write them into the file .netrc in your home folder."
        )
    if parts.scheme == "http" and not _is_here(host):
        raise UserError(
            f"{url} is not encrypted, and DICOM files hold the names of patients. Use https."
        )
    try:
        import dicomweb_client.api  # noqa: F401
    except ImportError as error:
        raise UserError(
            'Sending needs dicomweb-client: pip install "napari-mlbseg[dicomweb]".'
        ) from error


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _client(url: str) -> "DICOMwebClient":
    from dicomweb_client.api import DICOMwebClient

    made = DICOMwebClient(url.rstrip("/"), chunk_size=_IN_ONE_PIECE, timeout=_TIMEOUT_S)
    made.set_http_retry_params(retry=False)
    return made


def _require_stored(answer: Dataset, path: Path) -> None:
    failed = answer.get("FailedSOPSequence")
    if failed:
        reason: Any = failed[0].get("FailureReason")
        code = f" (reason {int(reason):04X})" if reason is not None else ""
        raise UserError(f"The archive refuses {path}{code}. Ask whoever runs it.")


@contextmanager
def _explained(url: str, path: Path) -> Iterator[None]:
    """Every failure of the connection becomes a `UserError`."""
    import requests

    try:
        yield
    except requests.exceptions.SSLError as error:
        if _UNTRUSTED not in str(error):
            raise UserError(
                f"{url} does not keep to TLS. Tell whoever runs the archive."
            ) from error
        raise UserError(
            f"The certificate of {url} is not trusted. Let REQUESTS_CA_BUNDLE name the file with "
            "the certificate of your archive."
        ) from error
    except requests.exceptions.HTTPError as error:
        status = "an error" if error.response is None else f"status {error.response.status_code}"
        raise UserError(
            f"{path} did not arrive: {url} answers with {status}. Check the address and, in "
            ".netrc, name and password."
        ) from error
    except (requests.exceptions.RequestException, OSError) as error:
        raise UserError(
            f"{url} cannot be reached ({type(error).__name__}). Check the address and the network."
        ) from error
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise UserError(
            f"{url} answers with something else than DICOMweb ({type(error).__name__}). Check the "
            "address."
        ) from error
