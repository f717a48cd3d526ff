//! Forwarded client addresses: they count from trusted proxies only.

use std::time::Duration;

use super::ENDPOINTS;
use super::proxy_headers::{NO_PROXY, PROXY, open_handshake};
use crate::support::{Bystander, TestServer, attacked};

/// A limit above the number of bystanders, which share one address.
const LIMIT: usize = 16;

const FLAGS: [&str; 2] =
    ["--max-connections-per-ip=16", "--trusted-proxies=127.0.0.2,127.0.0.3/32,10.0.0.0/8"];

fn forwarded(addresses: &str) -> String {
    format!("X-Forwarded-For: {addresses}\r\n")
}

/// Opens connections, each with its own headers, until one is refused; closes all, and returns how
/// many were admitted.
async fn count_admitted(
    server: &TestServer,
    from: &str,
    headers: impl Fn(usize) -> String,
) -> usize {
    let mut open = Vec::new();
    for number in 0..=LIMIT {
        let (raw, response) =
            open_handshake(server, from, ENDPOINTS[number % ENDPOINTS.len()], &headers(number))
                .await;
        if response.status == 429 {
            assert!(response.text().contains("LIMIT_REACHED"), "{response:?}");
            break;
        }
        assert_eq!(response.status, 101, "{response:?}");
        open.push(raw);
    }
    let count = open.len();
    drop(open);
    let again =
        async { while open_handshake(server, from, "/ws", &headers(0)).await.1.status != 101 {} };
    tokio::time::timeout(Duration::from_secs(5), again).await.expect("their permits are released");
    count
}

/// From an untrusted address, forwarded addresses are ignored and the address itself counts.
#[test]
fn forwarded_addresses_of_untrusted_clients_are_ignored() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let spoofed: [fn(usize) -> String; 6] = [
            |number| forwarded(&format!("9.9.9.{number}")),
            |number| forwarded(&format!("9.9.9.{number}, 127.0.0.2")),
            |number| forwarded(&format!("2001:db8::{number}")),
            |number| format!("{}{}", forwarded("127.0.0.1"), forwarded(&format!("9.9.9.{number}"))),
            |number| format!("Forwarded: for=9.9.9.{number}\r\nX-Real-IP: 9.9.9.{number}\r\n"),
            |number| {
                format!(
                    "X-Client-IP: 9.9.9.{number}\r\nTrue-Client-IP: 9.9.9.{number}\r\nCF-Connecting-IP: 9.9.9.{number}\r\n"
                )
            },
        ];
        for headers in spoofed {
            assert_eq!(count_admitted(server, NO_PROXY, headers).await, LIMIT, "{}", headers(1));
        }
        bystander.round().await;
    });
}

/// Behind proxies the last address that is not a trusted proxy counts, in any notation, whatever
/// precedes it.
#[test]
fn addresses_forwarded_by_a_trusted_proxy_count() {
    attacked(&FLAGS, async |server: &TestServer, bystander: &mut Bystander| {
        let limited: [fn(usize) -> String; 9] = [
            |number| forwarded(&format!("9.9.9.{number}, 8.8.8.8")),
            |number| forwarded(&format!("9.9.9.{number}, 8.8.8.8, 127.0.0.3, 10.1.2.3")),
            |number| format!("{}{}", forwarded(&format!("9.9.9.{number}")), forwarded("8.8.8.8")),
            |number| {
                format!(
                    "{}{}",
                    forwarded(&format!("9.9.9.{number}, 8.8.8.8")),
                    forwarded("10.0.0.1 ,\t127.0.0.2")
                )
            },
            |number| forwarded(&format!("9.9.9.{number}, ::ffff:8.8.8.8")),
            |number| {
                forwarded(&format!("unknown, _hidden, 999.1.1.1, 9.9.9.{number}:80, 2001:db8::8"))
            },
            |number| forwarded(&format!("{}, 8.8.8.8", "9.9.9.9, ".repeat(number * 60))),
            // One address in different notations.
            |number| {
                forwarded(["2001:db8::8", "2001:DB8:0:0:0:0:0:8", "2001:0db8::0008"][number % 3])
            },
            // Without a valid address, that of the proxy counts, or the last valid one.
            |number| {
                forwarded(&format!(
                    "9.9.9.{number}, {}",
                    ["unknown", "_hidden", "", "999.1.1.1", "\"\""][number % 5]
                ))
            },
        ];
        for headers in limited {
            let count = count_admitted(server, PROXY, headers).await;
            assert!(count <= LIMIT, "{}: {count}", headers(1));
        }
        // Clients behind the proxy are distinguished, however the proxy writes their addresses.
        for form in ["9.9.9.{}", "2001:db8:{}::1", "1.1.1.1, 9.9.9.{}", "9.9.9.{}, 127.0.0.3"] {
            let mut open = Vec::new();
            for number in 0..2 * LIMIT {
                let headers = forwarded(&form.replace("{}", &number.to_string()));
                let (raw, response) = open_handshake(server, PROXY, "/ws", &headers).await;
                assert_eq!(response.status, 101, "{headers}");
                open.push(raw);
            }
        }
        bystander.round().await;
    });
}
