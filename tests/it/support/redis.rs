//! A redis-server on a free port, which ends with its test.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::server::LIMIT;

pub(crate) struct Redis {
    process: Option<Child>,
    port: u16,
    flags: Vec<String>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(flags: &[&str]) -> Self {
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut redis = Self { process: None, port, flags };
        redis.run();
        redis
    }

    /// Starts it without data.
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
        format!("redis://{}", self.address())
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
