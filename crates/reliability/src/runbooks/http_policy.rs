//! What `http_check` may reach: only named hosts, and by them no address inside the machine or its cloud.

use std::net::IpAddr;

/// Most bytes of a checked response's body.
pub const HTTP_BODY_BYTES_MAX: usize = 64 << 10;

/// Host and port of an address that may be checked: `http` or `https`, no credentials, host (with or without port)
/// in `allow_hosts`.
///
/// # Errors
/// With the reason it may not.
pub fn host_allowed(url: &str, allow_hosts: &[String]) -> Result<(String, u16), String> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("`{url}` is no absolute address"))?;
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        other => return Err(format!("scheme `{other}` is not allowed; expected http or https")),
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or("");
    if authority.contains('@') {
        return Err("an address with credentials is not allowed".to_owned());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']').ok_or_else(|| format!("`{authority}` is no host"))?;
            (host, after.strip_prefix(':'))
        }
        None => authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p))),
    };
    let port = match port {
        None => default_port,
        Some(text) => text.parse().map_err(|_| format!("`{text}` is no port"))?,
    };
    if host.is_empty() {
        return Err(format!("`{url}` names no host"));
    }
    let listed = allow_hosts.iter().any(|a| a.eq_ignore_ascii_case(host) || a.eq_ignore_ascii_case(authority));
    if listed { Ok((host.to_owned(), port)) } else { Err(format!("host `{host}` is not in runbook.allow_hosts")) }
}

/// Whether a resolved address may be contacted. Loopback, link-local (metadata services) and unspecified addresses
/// are refused unless the address itself, or `localhost` for loopback, is listed: a name that resolves to one is a
/// trick.
pub fn address_allowed(address: IpAddr, allow_hosts: &[String]) -> bool {
    let address = address.to_canonical();
    let inside = match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_broadcast(),
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || (v6.segments()[0] & 0xffc0) == 0xfe80
                || v6.segments()[0] == 0xfd00 && v6.segments()[1] == 0x0ec2
        }
    };
    if !inside {
        return true;
    }
    allow_hosts.iter().any(|a| {
        let host = a
            .strip_prefix('[')
            .and_then(|h| h.split(']').next())
            .unwrap_or_else(|| if a.matches(':').count() == 1 { a.split(':').next().unwrap_or(a) } else { a });
        host.parse::<IpAddr>().is_ok_and(|ip| ip == address) || (host.eq_ignore_ascii_case("localhost") && address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_hosts() {
        let allow = ["orders.example".to_owned(), "127.0.0.1:8080".to_owned()];
        assert_eq!(host_allowed("http://orders.example/readyz", &allow), Ok(("orders.example".into(), 80)));
        assert_eq!(host_allowed("http://127.0.0.1:8080/x", &allow), Ok(("127.0.0.1".into(), 8080)));
        for bad in [
            "http://127.0.0.1:9/",
            "ftp://orders.example",
            "http://evil/?orders.example",
            "http://orders.example@evil/",
            "http://evil\\.orders.example/",
            "orders.example",
            "http://orders.example:x/",
            "http:///x",
        ] {
            assert!(host_allowed(bad, &allow).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_cannot_point_inside() {
        let allowed = |ip: &str, list: &[&str]| address_allowed(ip.parse().unwrap(), &list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        for inside in ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1", "0.0.0.0", "fd00:ec2::254"] {
            assert!(!allowed(inside, &["orders.example"]), "{inside}");
        }
        assert!(allowed("10.0.0.1", &[]));
        assert!(allowed("127.0.0.1", &["127.0.0.1:8080"]));
        assert!(allowed("127.0.0.1", &["localhost"]));
        assert!(!allowed("169.254.169.254", &["localhost"]));
    }
}
