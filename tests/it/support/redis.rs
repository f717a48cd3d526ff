//! A redis-server on a free port, which ends with its test; and a sentinel that watches one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::server::LIMIT;
use super::tls::Identity;

pub(crate) struct Redis {
    process: Option<Child>,
    port: u16,
    flags: Vec<String>,
    is_secure: bool,
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Waits until something holds, which a process is about to bring about.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < LIMIT, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(flags: &[&str]) -> Self {
        Self::on(free_port(), false, flags)
    }

    fn on(port: u16, is_secure: bool, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut redis = Self { process: None, port, flags, is_secure };
        redis.run();
        redis
    }

    /// Starts one that takes TLS connections only.
    pub(crate) fn secure(identity: &Identity) -> Self {
        let port = free_port();
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let (certificate, key) = (path(&identity.certificate), path(&identity.key));
        let flags = ["--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", "no"];
        let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key];
        Self::on(port, true, &[&flags[..], &files].concat())
    }

    /// Starts a replica of another one, with its files in a folder, and waits until it follows it.
    pub(crate) async fn replica_of(master: &Self, folder: &Path) -> Self {
        let (port, folder) = (master.port.to_string(), folder.to_str().unwrap());
        let replica = Self::with(&["--replicaof", "127.0.0.1", &port, "--dir", folder]);
        until("the replica follows its master", async || {
            let mut connection = replica.connection().await;
            let info: String =
                redis::cmd("INFO").arg("replication").query_async(&mut connection).await.unwrap();
            info.contains("master_link_status:up")
        })
        .await;
        replica
    }

    /// Starts it, without data unless its flags say where to keep them.
    pub(crate) fn run(&mut self) {
        let port = self.port.to_string();
        let own = [
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
        ];
        let started =
            Command::new("redis-server").args(own).args(&self.flags).stdout(Stdio::null()).spawn();
        self.process =
            Some(started.expect("redis-server is installed: apt-get install redis-server"));
        let began = Instant::now();
        while std::net::TcpStream::connect(self.address()).is_err() {
            assert!(began.elapsed() < LIMIT, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", if self.is_secure { "rediss" } else { "redis" }, self.address())
    }

    /// Kills it: its data is lost.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Sends a signal to the process, such as `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.process.as_ref().expect("it runs").id().to_string();
        assert!(
            Command::new("kill").args([&format!("-{name}"), &process]).status().unwrap().success()
        );
    }

    pub(crate) async fn connection(&self) -> redis::aio::MultiplexedConnection {
        redis::Client::open(self.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A sentinel on a free port, which ends with its test.
pub(crate) struct Sentinel {
    process: Child,
    port: u16,
}

impl Sentinel {
    /// Starts a sentinel that makes the replica of a server the master if the server does not
    /// answer for half a second. Its files are in a folder.
    pub(crate) async fn of(master: &Redis, folder: &Path) -> Self {
        let port = free_port();
        let config = folder.join("sentinel.conf");
        let lines = [
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            format!("dir {}", folder.display()),
            format!("sentinel monitor rooms 127.0.0.1 {} 1", master.port),
            "sentinel down-after-milliseconds rooms 500".to_owned(),
            "sentinel failover-timeout rooms 2000".to_owned(),
        ];
        std::fs::write(&config, lines.join("\n")).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(&config).arg("--sentinel").stdout(Stdio::null());
        let sentinel = Self { process: command.spawn().unwrap(), port };
        until("the sentinel knows the replica", async || {
            let Ok(mut connection) = sentinel.connection().await else { return false };
            let known: Result<Vec<redis::Value>, _> = redis::cmd("SENTINEL")
                .arg("replicas")
                .arg("rooms")
                .query_async(&mut connection)
                .await;
            known.is_ok_and(|replicas| replicas.len() == 1)
        })
        .await;
        sentinel
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/rooms", self.port)
    }

    async fn connection(&self) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
        let url = format!("redis://127.0.0.1:{}", self.port);
        redis::Client::open(url)?.get_multiplexed_async_connection().await
    }

    /// Waits until this server is the master.
    pub(crate) async fn until_master(&self, master: &Redis) {
        until("the sentinel has made the replica the master", async || {
            let mut connection = self.connection().await.unwrap();
            let (_, port): (String, u16) = redis::cmd("SENTINEL")
                .arg("get-master-addr-by-name")
                .arg("rooms")
                .query_async(&mut connection)
                .await
                .unwrap();
            port == master.port
        })
        .await;
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
