"""Certificates of a test's own, made by the openssl command."""

import collections
import subprocess

Identity = collections.namedtuple("Identity", "cert key")

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
CONFIG = """[ca]
default_ca = all
[all]
database = index
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
copy_extensions = copy
policy = any
[any]
commonName = supplied
"""


class Authority:
    """Signs for others; its own certificate is self-signed."""

    def __init__(self, folder, name):
        self.folder = folder
        folder.mkdir()
        (folder / "index").touch()
        (folder / "ca.cnf").write_text(CONFIG)
        self.identity = Identity(folder / "ca.pem", folder / "ca.key")
        self._openssl("req", "-x509", *KEY, "-days", "2", "-subj",
                      f"/CN={name}", "-keyout", "ca.key", "-out", "ca.pem")

    @property
    def file(self):
        return self.identity.cert

    def issue(self, *names, begin="20200101000000Z", end="20490101000000Z"):
        """A certificate for names as subjectAltName has them: DNS:a, IP:b."""
        count = len(list(self.folder.glob("*.csr")))
        cert, key, asked = (f"{count}.{kind}" for kind in ("pem", "key",
                                                           "csr"))
        self._openssl("req", "-new", *KEY, "-subj", "/CN=a test's server",
                      "-addext", "subjectAltName=" + ",".join(names),
                      "-keyout", key, "-out", asked)
        self._openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert",
                      "ca.pem", "-keyfile", "ca.key", "-in", asked, "-out",
                      cert, "-startdate", begin, "-enddate", end)
        return Identity(self.folder / cert, self.folder / key)

    def _openssl(self, *words):
        done = subprocess.run(["openssl", *words], cwd=self.folder, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True)
        assert done.returncode == 0, done.stderr
