//! The floor: the cost of copying bytes from one socket to another.
//!
//! The first frame of a client names its pair; two clients with the same name are connected. `PORT`
//! is the port.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

/// Clients whose counterpart has not connected yet.
type Waiting = Arc<Mutex<HashMap<Vec<u8>, TcpStream>>>;

/// A client's frame with a short text: two bytes, four of its key, then the text.
const HEAD: usize = 6;

fn main() -> anyhow::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "a program of its own, with one setting")]
    let port: u16 = std::env::var("PORT").context("PORT says where to listen")?.parse()?;
    // On one core, a single-threaded runtime avoids wake-ups; on more, all cores are used, like the
    // other servers do.
    let mut runtime = match std::thread::available_parallelism()?.get() {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_io().build()?.block_on(serve(port))
}

#[expect(clippy::disallowed_methods, reason = "the tasks of this program have no owner")]
async fn serve(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let waiting = Waiting::default();
    loop {
        let (stream, _) = listener.accept().await?;
        let waiting = Arc::clone(&waiting);
        tokio::spawn(async move {
            // A client that disconnects before it has a counterpart is not an error.
            _ = pair(stream, &waiting).await;
        });
    }
}

async fn pair(mut stream: TcpStream, waiting: &Waiting) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await?;
    let mut name = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut name).await?;
    let mut waiting = waiting.lock().await;
    let Some(other) = waiting.remove(&name) else {
        waiting.insert(name, stream);
        return Ok(());
    };
    drop(waiting);
    let (read, write) = stream.into_split();
    let (other_read, other_write) = other.into_split();
    tokio::try_join!(copy(read, other_write), copy(other_read, write))?;
    Ok(())
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}
