//! Runs the program as a child process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::server::LIMIT;

/// Returns a command of the program without the environment of this process.
pub(crate) fn parlor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
    command.env_clear().current_dir(env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Output of a process so far.
#[derive(Default)]
struct Printed {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A running server.
pub(crate) struct Program {
    child: Child,
    printed: Arc<Printed>,
    /// Returns the pipe after the first line, so that it stays open without being read.
    reader: Option<JoinHandle<BufReader<ChildStdout>>>,
}

impl From<&Program> for std::net::SocketAddr {
    fn from(program: &Program) -> Self {
        program.address()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // After a failed test, the process would continue otherwise.
        self.child.kill().ok();
    }
}

impl Program {
    /// Starts a server and waits for its first line. All output is read, so that the pipe never
    /// blocks the server.
    pub(crate) fn start(command: Command) -> Self {
        Self::start_reading(command, usize::MAX)
    }

    /// Starts a program, of which only the first line is read.
    pub(crate) fn start_unread(command: Command) -> Self {
        Self::start_reading(command, 1)
    }

    fn start_reading(mut command: Command, most: usize) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let printed = Arc::new(Printed::default());
        let reader = Arc::clone(&printed);
        let reader = std::thread::spawn(move || {
            for line in out.by_ref().lines().map_while(Result::ok).take(most) {
                reader.lines.lock().unwrap().push(line);
                reader.more.notify_all();
            }
            out
        });
        let program = Self { child, printed, reader: Some(reader) };
        program.until_printed("listening on");
        program
    }

    /// Waits until a line with this text has been printed, and returns it.
    pub(crate) fn until_printed(&self, text: &str) -> String {
        self.until_printed_times(text, 1)
    }

    /// Waits until this number of lines with this text has been printed, and returns the last one.
    pub(crate) fn until_printed_times(&self, text: &str, times: usize) -> String {
        let end = Instant::now() + LIMIT;
        let mut lines = self.printed.lines.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = lines.iter().filter(|line| line.contains(text)).nth(times - 1) {
                return line.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                left > Duration::ZERO,
                "{times} × {text:?} not printed in time, but\n{}",
                lines.join("\n")
            );
            lines = self.printed.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Returns the number of lines with this text.
    pub(crate) fn printed(&self, text: &str) -> usize {
        self.printed.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// Returns its address.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        let first = self.until_printed("listening on");
        let (_, address) =
            first.split_once("listening on http").expect("the first line says the address");
        let (_, address) = address.split_once("://").expect("it is a URL");
        let end = address.find(|letter: char| !letter.is_ascii_digit() && !".:".contains(letter));
        address[..end.unwrap_or(address.len())].parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for the exit.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Ends it as a service manager does, and returns its output.
    pub(crate) fn stop(mut self) -> String {
        self.signal("TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "a shutdown ends with 0");
        self.reader.take().expect("it is stopped once").join().unwrap();
        self.printed.lines.lock().unwrap().join("\n")
    }
}
