"""Apache Kafka with two more listeners: TLS with SASL, and TLS with clients' certificates.

    with SecureKafka({"worker": "its password"}, topics={"Out": 4}) as kafka:
        kafka.sasl, kafka.tls                    # host:port of these listeners; kafka.bootstrap stays the plain one
        kafka.sasl_file("worker", "its password"), kafka.tls_file()         # files for --kafka-config
        kafka.users["worker"] = "another"; kafka.reconfigure()              # restarts it
"""
import os
import subprocess

from harness.kafka import RealKafka
from harness.pg import free_port

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*args):
    out = subprocess.run(["openssl", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if out.returncode:
        raise RuntimeError(f"openssl {args[0]}:\n{out.stdout}")


class Authority:
    """A certificate authority, in PEM files."""

    def __init__(self, folder, name):
        self.stem = os.path.join(folder, name)
        self.certificate = self.stem + ".crt"
        openssl("req", "-x509", *NEW_KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", self.stem + ".key", "-out", self.certificate)

    def issue(self, name, address="IP:127.0.0.1"):
        """The path of a file with key and certificate, as Kafka wants them."""
        path = f"{self.stem}-{name}"
        openssl("req", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", path + ".key", "-out", path + ".csr")
        with open(path + ".ext", "w") as f:
            f.write(f"subjectAltName={address}\n")
        openssl("x509", "-req", "-in", path + ".csr", "-CA", self.certificate, "-CAkey", self.stem + ".key", "-CAcreateserial", "-days", "2",
                "-extfile", path + ".ext", "-out", path + ".crt")
        with open(path + ".pem", "w") as f:
            for part in (".key", ".crt"):
                with open(path + part) as source:
                    f.write(source.read())
        return path + ".pem"


class SecureKafka(RealKafka):
    def __init__(self, users, **options):
        super().__init__(**options)
        self.users = users
        self.given = self.conf
        self.sasl, self.tls = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.authority = Authority(self.dir, "ca")
        self.other_authority = Authority(self.dir, "other")
        self.keystore = self.authority.issue("broker")
        self.client_keystore = self.authority.issue("client")

    def init(self):
        self.conf = self.secure_conf()
        super().init()

    def secure_conf(self):
        plain = f"PLAINTEXT://127.0.0.1:{self.port},SASL_SSL://{self.sasl},SSL://{self.tls}"
        module = "org.apache.kafka.common.security"
        users = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        return {
            "listeners": f"{plain},CONTROLLER://127.0.0.1:{self.controller_port}", "advertised.listeners": plain,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required {users};",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
            "ssl.keystore.type": "PEM", "ssl.keystore.location": self.keystore,
            "ssl.truststore.type": "PEM", "ssl.truststore.location": self.authority.certificate,
            "listener.name.ssl.ssl.client.auth": "required", **self.given}

    def format_options(self):
        return [word for name, password in self.users.items() for word in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")]

    def reconfigure(self):
        """Takes over what was changed: users (of PLAIN), keystore."""
        self.conf = self.secure_conf()
        self.write_properties()
        self.stop()
        self.start()

    def client_file(self, properties):
        path = os.path.join(self.dir, f"client-{len(os.listdir(self.dir))}.properties")
        with open(path, "w") as f:
            f.write("# a secure listener\n\n")
            f.writelines(f"{name} = {value}\n" for name, value in properties.items())
        os.chmod(path, 0o600)
        return path

    def sasl_file(self, user, password, mechanism="PLAIN", **more):
        return self.client_file({"security.protocol": "SASL_SSL", "sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password,
                                 "ssl.ca.location": self.authority.certificate, **more})

    def tls_file(self, **more):
        return self.client_file({"security.protocol": "SSL", "ssl.ca.location": self.authority.certificate,
                                 "ssl.certificate.location": self.client_keystore, "ssl.key.location": self.client_keystore, **more})
