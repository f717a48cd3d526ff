//! Settings of the media server.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use clap::Args;

use super::values::{Announced, announced, bitrate, count, port, rate, switch};

/// The media server, for rooms that are too large for a mesh.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Media")]
pub struct Media {
    /// `off`: no media server and no UDP port
    #[arg(long, value_name = "on|off", default_value = "on", num_args = 0..=1, require_equals = true, default_missing_value = "on", value_parser = switch)]
    pub sfu: bool,
    /// Address of the media socket [default: `HOST`]
    #[arg(long, value_name = "ADDRESS")]
    pub sfu_host: Option<String>,
    /// UDP port for all media; 0 uses a free port [default: the number of `PORT`]
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub sfu_port: Option<u16>,
    /// Addresses announced to clients, comma-separated, with a port if it differs: behind NAT and
    /// in containers [default: detected]
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',', value_parser = announced)]
    pub sfu_announced_address: Vec<Announced>,
    /// Maximum bitrate of a producer in kbit/s
    #[arg(long, value_name = "KBPS", default_value = "2500", value_parser = bitrate)]
    pub sfu_max_bitrate_kbps: u32,
    /// Maximum number of producers of a peer
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = count::<1>)]
    pub sfu_max_producers: usize,
    /// Maximum number of transports of all peers; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "4096", value_parser = count::<0>)]
    pub sfu_max_transports: usize,
    /// Transports created per second for all peers; further requests wait; 0 = no limit
    #[arg(long, value_name = "COUNT", default_value = "200", value_parser = rate)]
    pub sfu_transports_per_second: u32,
}

impl Media {
    /// Returns a warning if addresses are announced whose family the bound socket does not serve.
    /// An IPv6 socket that listens on all addresses serves both.
    pub fn unreachable(&self, bound: SocketAddr) -> Option<String> {
        let has_both = bound.ip() == Ipv6Addr::UNSPECIFIED;
        let is_of_it = |ip: IpAddr| has_both || ip.is_ipv6() == bound.is_ipv6();
        let all = self.sfu_announced_address.iter().map(|announced| announced.ip);
        let others: Vec<String> =
            all.filter(|ip| !is_of_it(*ip)).map(|ip| ip.to_string()).collect();
        let (family, other) = if bound.is_ipv6() { ("IPv6", "IPv4") } else { ("IPv4", "IPv6") };
        (!others.is_empty()).then(|| {
            let others = others.join(", ");
            format!(
                "SFU_ANNOUNCED_ADDRESS has {others}, but the media socket on {bound} serves {family} only: clients cannot reach \
                it over {other} (SFU_HOST=:: serves both)"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        media: Media,
    }

    #[test]
    fn addresses_of_an_unserved_family_cause_a_warning() {
        let media = Only::parse_from([
            "",
            "--sfu-announced-address=203.0.113.7,2001:db8::1,[2001:db8::2]:5",
        ])
        .media;
        let warning = |bound: &str| media.unreachable(bound.parse().unwrap());
        for v4 in ["0.0.0.0:4000", "192.0.2.1:4000"] {
            let warning = warning(v4).unwrap();
            assert!(
                warning.contains("SFU_ANNOUNCED_ADDRESS has 2001:db8::1, 2001:db8::2, "),
                "{warning}"
            );
        }
        assert_eq!(warning("[::]:4000"), None, "serves both");
        let v6 = warning("[2001:db8::1]:4000").unwrap();
        assert!(v6.contains("SFU_ANNOUNCED_ADDRESS has 203.0.113.7, "), "{v6}");
        assert_eq!(Only::parse_from([""]).media.unreachable("0.0.0.0:4000".parse().unwrap()), None);
    }
}
