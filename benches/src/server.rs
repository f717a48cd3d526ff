//! The measured servers: how they are started, and what they consume.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::dialect::{self, Dialect};
use crate::janus;

/// A server and one of its protocols.
#[derive(Clone, Copy)]
pub(crate) struct Contestant {
    /// The name on the command line and in the results.
    pub(crate) key: &'static str,
    /// The name in reports.
    pub(crate) label: &'static str,
    pub(crate) dialect: &'static dyn Dialect,
    program: Program,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    /// With these flags in addition to the common ones.
    Parlor(&'static [&'static str]),
    /// A file in `peers/`, run by Node.
    Node(&'static str),
    /// A file in `peers/`, run by the Bun that npm installs there.
    Bun(&'static str),
    Matchbox,
    /// With this number of event loops.
    Janus(usize),
    Floor,
}

/// Raises the limits that a load would exceed. The rate limiter still runs, but refuses nothing.
pub(crate) const FLAGS: [&str; 8] = [
    "--node-env=production",
    // In production a media server that only this machine reaches is an error.
    "--sfu-host=0.0.0.0",
    // `/signal` would refuse a load without TLS in production.
    "--require-tls=false",
    "--messages-per-second=1000000",
    "--message-burst=1000000",
    "--max-room-size=1000",
    "--max-rooms=200000",
    "--max-rooms-per-connection=1000",
];

pub(crate) const FLOOR: Contestant = Contestant {
    key: "floor",
    label: "floor: copying over TCP",
    dialect: &dialect::Copying,
    program: Program::Floor,
};
pub(crate) const PARLOR: Contestant = Contestant {
    key: "parlor",
    label: "Parlor",
    dialect: &dialect::SocketIo,
    program: Program::Parlor(&[]),
};
pub(crate) const PARLOR_WITHOUT_RECOVERY: Contestant = Contestant {
    key: "parlor-no-recovery",
    label: "Parlor, `RESUME_SECONDS=0`",
    program: Program::Parlor(&["--resume-seconds=0"]),
    ..PARLOR
};
pub(crate) const EXPRESS: Contestant = Contestant {
    key: "express",
    label: "Express + Socket.IO",
    dialect: &dialect::SocketIo,
    program: Program::Node("express.js"),
};
pub(crate) const BUN: Contestant = Contestant {
    key: "bun",
    label: "Socket.IO on Bun",
    dialect: &dialect::SocketIo,
    program: Program::Bun("bun.js"),
};
pub(crate) const WS: Contestant = Contestant {
    key: "ws",
    label: "bare `ws`",
    dialect: &dialect::Ws,
    program: Program::Node("ws.js"),
};
pub(crate) const PEERJS: Contestant = Contestant {
    key: "peerjs",
    label: "PeerJS",
    dialect: &dialect::PeerJs,
    program: Program::Node("peer.js"),
};
pub(crate) const TOPIC: Contestant =
    Contestant { key: "topic", label: "Parlor, `/ws/{topic}`", dialect: &dialect::Topic, ..PARLOR };
pub(crate) const SESSION: Contestant =
    Contestant { key: "session", label: "Parlor, `/signal`", dialect: &dialect::Session, ..PARLOR };
pub(crate) const ENVELOPE: Contestant =
    Contestant { key: "envelope", label: "Parlor, `/ws`", dialect: &dialect::Envelope, ..PARLOR };
pub(crate) const MATCHBOX: Contestant = Contestant {
    key: "matchbox",
    label: "`matchbox_server`",
    dialect: &dialect::Matchbox,
    program: Program::Matchbox,
};
/// Not in [`ALL`]: it takes no signals, and is reached by [`janus`].
pub(crate) const JANUS: Contestant = Contestant {
    key: "janus",
    label: "Janus, one event loop",
    dialect: &dialect::Copying,
    program: Program::Janus(1),
};
/// Parlor as it is compared with Janus.
pub(crate) const PARLOR_FORWARDING: Contestant = Contestant {
    key: "parlor-forwarding",
    program: Program::Parlor(&["--sfu-max-bitrate-kbps=40000"]),
    ..ENVELOPE
};

pub(crate) const ALL: [Contestant; 11] = [
    FLOOR,
    PARLOR,
    PARLOR_WITHOUT_RECOVERY,
    EXPRESS,
    BUN,
    WS,
    PEERJS,
    TOPIC,
    SESSION,
    ENVELOPE,
    MATCHBOX,
];

pub(crate) fn find(key: &str) -> anyhow::Result<Contestant> {
    let keys: Vec<&str> = ALL.iter().map(|contestant| contestant.key).collect();
    let found = ALL.into_iter().find(|contestant| contestant.key == key);
    found.with_context(|| format!("no server is called {key}; there are {}", keys.join(", ")))
}

/// The paths of the programs.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) parlor: PathBuf,
    pub(crate) matchbox: PathBuf,
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package is in a folder of the repository")
}

/// Returns the folder of the npm peers.
pub(crate) fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// A running server. It is killed when this is dropped, and when this process ends.
pub(crate) struct Server {
    process: Process,
    pub(crate) address: SocketAddr,
    /// Nodes of the same cluster, whose time and memory count with its own.
    pub(crate) others: Vec<Server>,
}

enum Process {
    Ours(Child),
    /// Started and stopped by the caller.
    Theirs(Pid),
}

/// How often a server is asked whether it listens, or has ended: there is no event for that.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum time until a server listens.
const START: Duration = Duration::from_mins(1);

/// Maximum time until a server has ended.
const STOP: Duration = Duration::from_secs(30);

impl Server {
    /// Starts a server on these cores. `under` is a command to run it under, such as a profiler.
    pub(crate) fn start(
        contestant: &Contestant,
        programs: &Programs,
        cores: &[usize],
        under: &[String],
    ) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut words = vec!["setpriv".into(), "--pdeathsig".into(), "KILL".into()];
        let cores: Vec<_> = cores.iter().map(usize::to_string).collect();
        words.extend(["taskset".to_owned(), "-c".to_owned(), cores.join(",")]);
        words.extend_from_slice(under);
        words.extend(contestant.program.command(programs, address)?);
        let log = root().join("target").join(format!("bench-{}.log", contestant.key));
        let spawn = || {
            let file = File::create(&log)
                .with_context(|| format!("{} cannot be written", log.display()))?;
            Command::new(&words[0])
                .args(&words[1..])
                .env_clear()
                .env("PATH", path())
                .env("PORT", address.port().to_string())
                .env("NODE_ENV", "production")
                .env("RUST_LOG", "error")
                .current_dir(peers())
                .stdin(Stdio::null())
                .stdout(file)
                .stderr(Stdio::inherit())
                .spawn()
                .with_context(|| format!("{} does not start", words.join(" ")))
        };
        let mut child = spawn()?;
        let mut starts = 1;
        let until = Instant::now() + START;
        while !contestant.program.is_listening(address) {
            if let Some(status) = child.try_wait()? {
                if starts == contestant.program.max_starts() {
                    bail!("{} ended with {status}; its log is {}", words.join(" "), log.display());
                }
                starts += 1;
                child = spawn()?;
            }
            if Instant::now() > until {
                child.kill()?;
                bail!("{} does not listen", words.join(" "));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(Self { process: Process::Ours(child), address, others: Vec::new() })
    }

    /// Attaches to a running server.
    pub(crate) fn attach(address: SocketAddr, process: i32) -> Self {
        Self { process: Process::Theirs(Pid::from_raw(process)), address, others: Vec::new() }
    }

    pub(crate) fn id(&self) -> Pid {
        match &self.process {
            Process::Ours(child) => {
                Pid::from_raw(i32::try_from(child.id()).expect("an id of a process is positive"))
            }
            Process::Theirs(id) => *id,
        }
    }

    /// Returns the CPU time of all its threads since its start.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let clock = ClockId::pid_cpu_clock_id(self.id()).context("the server has ended")?;
        let own = clock.now().context("the server has ended")?.into();
        self.others.iter().try_fold(own, |sum: Duration, other| Ok(sum + other.cpu()?))
    }

    /// Returns the user time of all its threads, in steps of 10 ms.
    pub(crate) fn user_cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))
            .context("the server has ended")?;
        // After the name, which may contain spaces, comes field 3 of proc_pid_stat(5); `utime` is
        // field 14.
        let (_, fields) = stat.rsplit_once(')').context("stat names its process")?;
        let ticks: u64 =
            fields.split_ascii_whitespace().nth(11).context("stat has user time")?.parse()?;
        let own = Duration::from_millis(ticks * 10);
        self.others.iter().try_fold(own, |sum, other| Ok(sum + other.user_cpu()?))
    }

    /// Returns its resident memory, in KiB.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))
            .context("the server has ended")?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("VmRSS is missing")?;
        let own = line.trim().trim_end_matches(" kB").parse()?;
        self.others.iter().try_fold(own, |sum: u64, other| Ok(sum + other.memory()?))
    }

    /// Stops it like a service manager, and waits until it has ended. One that does not end is
    /// killed, which is an error.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.others.drain(..).try_for_each(Self::stop)?;
        if let Process::Ours(child) = &mut self.process {
            let id = Pid::from_raw(i32::try_from(child.id())?);
            nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM)?;
            let until = Instant::now() + STOP;
            while child.try_wait()?.is_none() {
                ensure!(Instant::now() < until, "the server does not end within {STOP:?}");
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Process::Ours(child) = &mut self.process {
            // Fails if it has already ended.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Program {
    /// Returns how often it may be started until it listens.
    fn max_starts(self) -> usize {
        match self {
            Self::Janus(_) => janus::STARTS,
            _ => 1,
        }
    }

    fn is_listening(self, address: SocketAddr) -> bool {
        match self {
            Self::Janus(_) => janus::is_listening(),
            _ => TcpStream::connect(address).is_ok(),
        }
    }

    fn command(self, programs: &Programs, address: SocketAddr) -> anyhow::Result<Vec<String>> {
        let path = |path: &Path| {
            let path =
                path.canonicalize().with_context(|| format!("no program at {}", path.display()))?;
            anyhow::Ok(path.to_string_lossy().into_owned())
        };
        Ok(match self {
            Self::Parlor(flags) => {
                let own =
                    [format!("--host={}", address.ip()), format!("--port={}", address.port())];
                let flags = FLAGS.iter().chain(flags).map(|flag| (*flag).to_owned());
                [path(&programs.parlor)?].into_iter().chain(own).chain(flags).collect()
            }
            Self::Node(file) => vec!["node".to_owned(), path(&peers().join(file))?],
            Self::Bun(file) => {
                vec![
                    path(&peers().join("node_modules/.bin/bun"))?,
                    "run".to_owned(),
                    path(&peers().join(file))?,
                ]
            }
            Self::Janus(event_loops) => janus::command(event_loops)?,
            Self::Matchbox => vec![path(&programs.matchbox)?, address.to_string()],
            Self::Floor => vec![path(&std::env::current_exe()?.with_file_name("floor"))?],
        })
    }
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

#[expect(clippy::disallowed_methods, reason = "child processes inherit the search path only")]
pub(crate) fn path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned())
}
