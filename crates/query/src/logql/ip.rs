//! `ip("…")`: addresses in lines and labels.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address, a range or a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IpTest {
    first: IpAddr,
    last: IpAddr,
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

impl IpTest {
    /// Reads `10.0.0.1`, `10.0.0.1-10.0.0.9` or `10.0.0.0/8`, in either family.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let invalid = || format!("ip: invalid pattern: {text:?} is no address, range (a-b) or network (a/n)");
        let address = |part: &str| part.trim().parse::<IpAddr>().map_err(|_| invalid());
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (address(first)?, address(last)?);
            if first.is_ipv4() != last.is_ipv4() || bits(first) > bits(last) {
                return Err(invalid());
            }
            return Ok(Self { first, last });
        }
        let Some((base, length)) = text.split_once('/') else {
            return address(text).map(|one| Self { first: one, last: one });
        };
        let (base, length) = (address(base)?, length.parse::<u32>().map_err(|_| invalid())?);
        let width = if base.is_ipv4() { 32 } else { 128 };
        let host = width - Some(length).filter(|n| *n <= width).ok_or_else(invalid)?;
        let mask = if host == 128 { u128::MAX } else { (1u128 << host) - 1 };
        let make = |bits: u128| match base {
            #[allow(clippy::cast_possible_truncation, reason = "an IPv4 address with its host bits has 32")]
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from(bits as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(bits)),
        };
        Ok(Self { first: make(bits(base) & !mask), last: make(bits(base) | mask) })
    }

    fn holds(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (bits(self.first)..=bits(self.last)).contains(&bits(address))
    }

    /// Whether the text holds such an address.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let part = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
        text.split(|c: char| !part(c)).filter(|run| run.len() > 1).any(|run| self.is_in_run(run))
    }

    /// In characters that addresses are made of: the address may have a port behind it or a full stop.
    fn is_in_run(&self, run: &str) -> bool {
        let holds = |text: &str| text.parse::<IpAddr>().is_ok_and(|address| self.holds(address));
        let trimmed = run.trim_end_matches(['.', ':']);
        if holds(run) || holds(trimmed) {
            return true;
        }
        // Several in one run, or an address with a port.
        run.contains('.') && run.split(':').any(|piece| holds(piece.trim_matches('.')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |pattern: &str, text: &str| IpTest::new(pattern).map(|t| t.is_in(text));
        for (pattern, text, found) in [
            ("192.168.1.0/24", "src 192.168.1.10 ok", true),
            ("192.168.1.0/24", "src 192.168.2.10 ok", false),
            ("10.0.0.1", "to 10.0.0.1:8080.", true),
            ("10.0.0.1-10.0.0.9", "[10.0.0.9]", true),
            ("2001:db8::/32", "from 2001:db8::1 port 1", true),
            ("::/0", "no address: here", false),
            ("10.0.0.1", "10.0.0.12", false),
        ] {
            assert_eq!(check(pattern, text), Ok(found), "{pattern} in {text}");
        }
        for bad in ["", "notanip", "10.0.0.0/33", "10.0.0.9-10.0.0.1", "10.0.0.1-::1"] {
            assert!(IpTest::new(bad).is_err_and(|e| e.starts_with("ip: invalid pattern")), "{bad}");
        }
    }
}
