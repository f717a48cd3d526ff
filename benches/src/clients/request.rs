//! The handshake request of the benchmark's clients.

use std::net::SocketAddr;

use parlor_testing::frame::handshake;

/// Returns the handshake request of a browser.
pub(super) fn request(path: &str, server: SocketAddr) -> String {
    let headers = "\
         Pragma: no-cache\r\n\
         Cache-Control: no-cache\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
         Origin: http://localhost:3000\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-US,en;q=0.9\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    handshake(path, &server.to_string(), headers)
}
