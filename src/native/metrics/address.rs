//! `addr`: where the endpoint listens.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::net::TcpListener;

/// Where to listen, as Litestream writes it: `:9090` is every address of this machine, `127.0.0.1:9090` and
/// `localhost:9090` this machine alone. So is a port alone, `9090`, which Litestream does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// Every address of this machine.
    Any,
    Ip(IpAddr),
    Name(String),
}

impl Address {
    /// Whether other machines may reach it.
    pub fn is_public(&self) -> bool {
        match &self.host {
            Host::Any => true,
            Host::Ip(ip) => !ip.is_loopback(),
            Host::Name(name) => name != "localhost",
        }
    }

    /// How it is reached from this machine.
    pub fn to_connect(&self) -> String {
        match &self.host {
            Host::Any => format!("127.0.0.1:{}", self.port),
            Host::Ip(ip) if ip.is_unspecified() => format!("127.0.0.1:{}", self.port),
            _ => self.to_string(),
        }
    }

    /// Listens there.
    pub async fn bind(&self) -> io::Result<TcpListener> {
        match &self.host {
            Host::Ip(ip) => TcpListener::bind((*ip, self.port)).await,
            Host::Name(name) => TcpListener::bind((name.as_str(), self.port)).await,
            Host::Any => {
                let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.port));
                match TcpListener::bind(both).await {
                    Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                        // A machine without IPv6.
                        TcpListener::bind((Ipv4Addr::UNSPECIFIED, self.port)).await
                    }
                    bound => bound,
                }
            }
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("{text:?} is no address to listen at: write \":9090\" or \"127.0.0.1:9090\"");
        let (host, port) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
        let port = port.parse().map_err(|_| wrong())?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let host = match bare.parse() {
            Ok(ip) => Host::Ip(ip),
            Err(_) if bare.is_empty() => Host::Any,
            Err(_) if bare.contains([':', '/', ' ', '[', ']']) => return Err(wrong()),
            Err(_) => Host::Name(bare.to_owned()),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match &self.host {
            Host::Any => write!(f, ":{port}"),
            Host::Ip(ip) => SocketAddr::from((*ip, port)).fmt(f),
            Host::Name(name) => write!(f, "{name}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_litestream_reads_them() {
        for (text, shown, public) in [
            (":9090", ":9090", true),
            ("0.0.0.0:9090", "0.0.0.0:9090", true),
            ("127.0.0.1:9090", "127.0.0.1:9090", false),
            ("9090", "127.0.0.1:9090", false),
            ("localhost:0", "localhost:0", false),
            ("[::1]:9090", "[::1]:9090", false),
            ("metrics.internal:80", "metrics.internal:80", true),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(
                (address.to_string().as_str(), address.is_public()),
                (shown, public)
            );
        }
        for text in ["", ":", "host", ":99999", "http://host:80", "[::1:80", "a b:80"] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(":9090"), "{text:?}: {error}");
        }
    }
}
