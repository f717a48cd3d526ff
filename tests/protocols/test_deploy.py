"""The compose files and the Helm chart: their settings must be known to the server, and their files must exist."""

import os
import re
import subprocess

import yaml

from helm import render
from support import BINARY, REPOSITORY

CHART = REPOSITORY / "packaging/helm/parlor"
VERSION = re.search(r'^version = "(.*)"', (REPOSITORY / "Cargo.toml").read_text(), re.MULTILINE)[1]


def check(settings):
    """Runs `parlor check` with these variables, which must be valid and cause no warning about misspelling."""
    # Compose files have empty values as text.
    env = {"PATH": os.environ["PATH"], **{name: value or "" for name, value in settings.items()}}
    done = subprocess.run([str(BINARY), "check"], env=env, cwd="/", text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "is not a setting" not in done.stdout, done.stdout
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if re.match(r"[A-Z_]+=", line))


def interpolated(text):
    """Expands `${NAME:-default}` without any variable set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


class Loader(yaml.SafeLoader):
    """A YAML loader for the tags of compose files."""


Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def compose(name):
    return yaml.load(interpolated((REPOSITORY / name).read_text()), Loader)["services"]


def test_compose_settings_are_known_and_files_exist():
    one, nodes = compose("compose.yaml"), compose("compose.nodes.yaml")
    base = one["parlor"]["environment"]
    in_force = check(base)
    assert in_force["SFU_ANNOUNCED_ADDRESS"] == "127.0.0.1"
    assert {"4000:4000/tcp", "4000:4000/udp"} <= set(one["parlor"]["ports"])
    assert one["coturn"]["command"][1].endswith("=" + base["TURN_SECRET"]), "both sides have one secret"
    for name in ("parlor", "parlor-2", "parlor-3"):
        check({**base, **nodes[name]["environment"]})
    media_ports = {port for name in ("parlor-2", "parlor-3") for port in nodes[name]["ports"]}
    assert media_ports == {"4002:4000/udp", "4003:4000/udp"}
    for service in [*one.values(), *nodes.values()]:
        image = service.get("image", "parlor:0")
        assert re.search(r":v?\d", image), f"{image} has no version"
        for volume in service.get("volumes", []):
            assert (REPOSITORY / volume.split(":")[0]).exists(), volume
    assert one["parlor"]["image"] == f"parlor:{VERSION}"


def test_nginx_of_the_compose_file_is_valid(tmp_path):
    text = (REPOSITORY / "packaging/compose/nginx.conf").read_text()
    for name in ("parlor", "parlor-2", "parlor-3"):
        assert f"server {name}:4000;" in text
    for header in ("Upgrade $http_upgrade", "Connection $connection_upgrade", "X-Forwarded-For", "X-Forwarded-Proto", "Host $http_host"):
        assert f"proxy_set_header {header}" in text, header
    nginx = "/usr/sbin/nginx"
    if os.path.exists(nginx):
        # Container names resolve only in the compose network.
        path = tmp_path / "nginx.conf"
        path.write_text(re.sub(r"server parlor(-\d)?:", "server 127.0.0.1:", text) + f"\npid {tmp_path}/nginx.pid;\nerror_log stderr;\n")
        done = subprocess.run([nginx, "-t", "-c", str(path), "-p", str(tmp_path)], text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


def rendered(**values):
    given = yaml.safe_load((CHART / "values.yaml").read_text())
    for key, value in values.items():
        given[key] = {**given[key], **value} if isinstance(value, dict) else value
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    context = {"Values": given, "Release": {"Name": "calls"}, "Chart": {"AppVersion": chart["appVersion"]}}
    texts = [render(path.read_text(), context) for path in sorted((CHART / "templates").glob("*.yaml"))]
    return {document["kind"]: document for text in texts if (document := yaml.safe_load(text))}


def container(documents):
    return documents["Deployment"]["spec"]["template"]["spec"]["containers"][0]


def env_of(documents):
    return {one["name"]: one.get("value") for one in container(documents)["env"]}


def test_chart_has_the_version_of_the_server():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
    assert container(rendered())["image"] == f"parlor:{VERSION}"


def test_chart_settings_are_known():
    documents = rendered()
    env = {name: value or "192.0.2.7" for name, value in env_of(documents).items()}
    assert all(isinstance(value, str) for value in env.values()), env
    check({name: value for name, value in env.items() if name not in ("POD_IP", "CLUSTER_ADDRESS")})
    ports = {(port["name"], port["protocol"]) for port in container(documents)["ports"]}
    assert ports == {("http", "TCP"), ("metrics", "TCP"), ("media", "UDP")}
    assert set(documents) == {"Deployment", "Service"}
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > int(env["SHUTDOWN_SECONDS"])
    assert container(documents)["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert "tcpSocket" in container(documents)["livenessProbe"], "/healthz is 503 while the server drains"


def test_chart_options():
    without_media = rendered(media={"enabled": False})
    assert env_of(without_media)["SFU"] == "off"
    assert all(port["protocol"] == "TCP" for port in container(without_media)["ports"])

    secret = rendered(secret="parlor-secrets", secretKeys=["API_TOKEN", "JWT_SECRET"])
    [mount] = container(secret)["volumeMounts"]
    assert env_of(secret)["JWT_SECRET_FILE"] == f"{mount['mountPath']}/JWT_SECRET"
    assert secret["Deployment"]["spec"]["template"]["spec"]["volumes"][0]["secret"]["secretName"] == "parlor-secrets"

    ingress = rendered(ingress={"enabled": True, "tlsSecret": "certificate"})["Ingress"]
    assert ingress["spec"]["tls"][0]["secretName"] == "certificate"
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == rendered()["Service"]["metadata"]["name"]
