"""A small DICOMweb archive over TLS on this machine, which may do what it should not."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

import pydicom
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_BOUNDARY = b"parts-of-the-test"


class Archive:
    """What the archive has, by SOP Instance UID; `fault` is what it does wrong.

    Attributes
    ----------
    url, certificate
        Where it answers, and the file that vouches for it.
    """

    def __init__(self, url: str, certificate: Path) -> None:
        self.url, self.certificate = url, certificate
        self.stored: dict[str, bytes] = {}
        self.fault = ""


@contextmanager
def running(folder: Path) -> Iterator[Archive]:
    certificate, key = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    archive = Archive(f"https://127.0.0.1:{server.server_address[1]}/dicom-web", certificate)
    server.archive = archive  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield archive
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    @property
    def archive(self) -> Archive:
        found = self.server.archive  # type: ignore[attr-defined]
        assert isinstance(found, Archive)
        return found

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.archive.fault == "forbids":
            self.send_error(401)
            return
        boundary = b"--" + self.headers.get_param("boundary").encode()  # type: ignore[union-attr]
        failed = []
        for part in body.split(boundary)[1:-1]:
            content = part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
            uid = str(pydicom.dcmread(BytesIO(content)).SOPInstanceUID)
            if self.archive.fault == "refuses":
                failed.append({"00081197": {"vr": "US", "Value": [0xA700]}})
            elif self.archive.fault != "loses":
                self.archive.stored[uid] = content
        answer = {"00081198": {"vr": "SQ", "Value": failed}} if failed else {}
        self._answer(json.dumps(answer).encode(), "application/dicom+json")

    def do_GET(self) -> None:
        content = self.archive.stored.get(self.path.rpartition("/")[2])
        if content is None:
            self.send_error(404)
            return
        if self.archive.fault == "changes":
            dataset = pydicom.dcmread(BytesIO(content))
            dataset.PixelData = bytes([dataset.PixelData[0] ^ 1]) + dataset.PixelData[1:]
            written = BytesIO()
            dataset.save_as(written)
            content = written.getvalue()
        head = b"\r\nContent-Type: application/dicom\r\n\r\n"
        body = b"--" + _BOUNDARY + head + content + b"\r\n--" + _BOUNDARY + b"--\r\n"
        kind = f'multipart/related; type="application/dicom"; boundary={_BOUNDARY.decode()}'
        self._answer(body, kind)

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is told."""


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for this machine that lasts a day, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (folder / "certificate.pem").write_bytes(made.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key.pem").write_bytes(private)
    return folder / "certificate.pem", folder / "key.pem"
