//! As much of DNS (RFC 1035, RFC 2782) as discovery needs: one question to the servers of `/etc/resolv.conf`, over UDP
//! and, where the answer was cut, over TCP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Longest one server is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Most answers taken of one message.
const ANSWERS_MAX: usize = 4096;
/// Most pointers followed in a compressed name.
const POINTERS_MAX: usize = 32;

/// Kinds of records that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// IPv4 address.
    A = 1,
    /// Name server.
    Ns = 2,
    /// Mail exchange.
    Mx = 15,
    /// IPv6 address.
    Aaaa = 28,
    /// Host and port of a service.
    Srv = 33,
}

impl Kind {
    /// From its name in a configuration.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "A" => Self::A,
            "NS" => Self::Ns,
            "MX" => Self::Mx,
            "AAAA" => Self::Aaaa,
            "SRV" => Self::Srv,
            _ => return None,
        })
    }
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An address.
    Address(IpAddr),
    /// The name of a host (`NS`, `MX`).
    Host(String),
    /// Host and port.
    Service(String, u16),
}

/// The question as bytes. `id` comes back with the answer.
fn question(id: u16, name: &str, kind: Kind) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(name.len() + 18);
    out.extend_from_slice(&id.to_be_bytes());
    // One question, recursion desired.
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length));
        out.push(length.ok_or_else(|| format!("{name:?} is no name: its parts have 1 to 63 characters"))?);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&(kind as u16).to_be_bytes());
    out.extend_from_slice(&1u16.to_be_bytes());
    Ok(out)
}

/// Reads a message from front to back.
struct Message<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Message<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let chunk = *self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(chunk)
    }

    fn number(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    /// A name, with the pointers that shorten it followed.
    fn name(&mut self) -> Option<String> {
        let mut out = String::new();
        let (mut at, mut pointers, mut after) = (self.at, 0, None);
        loop {
            let length = usize::from(*self.bytes.get(at)?);
            match length >> 6 {
                0 if length == 0 => {
                    self.at = after.unwrap_or(at + 1);
                    return Some(out);
                }
                0 => {
                    let label = self.bytes.get(at + 1..at + 1 + length)?;
                    if !out.is_empty() {
                        out.push('.');
                    }
                    out.push_str(&String::from_utf8_lossy(label));
                    at += 1 + length;
                }
                3 => {
                    pointers += 1;
                    if pointers > POINTERS_MAX {
                        return None;
                    }
                    after.get_or_insert(at + 2);
                    at = (length & 0x3f) << 8 | usize::from(*self.bytes.get(at + 1)?);
                }
                _ => return None,
            }
        }
    }
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Records(Vec<Record>),
    /// There is no such name.
    None,
    /// It was cut: to be asked for over TCP.
    Cut,
    /// The server could not tell.
    Failed(u8),
}

fn answer(bytes: &[u8], id: u16, kind: Kind) -> Option<Answer> {
    let mut message = Message { bytes, at: 0 };
    let (their_id, flags) = (message.number()?, message.number()?);
    if their_id != id || flags & 0x8000 == 0 {
        return None;
    }
    match flags & 0xf {
        0 => {}
        3 => return Some(Answer::None),
        code => return Some(Answer::Failed(code as u8)),
    }
    if flags & 0x0200 != 0 {
        return Some(Answer::Cut);
    }
    let (questions, answers) = (message.number()?, message.number()?);
    message.at += 4;
    for _ in 0..questions {
        message.name()?;
        message.at += 4;
    }
    let mut records = Vec::new();
    for _ in 0..usize::from(answers).min(ANSWERS_MAX) {
        message.name()?;
        let found = message.number()?;
        message.at += 6;
        let length = usize::from(message.number()?);
        let next = message.at + length;
        // Aliases come along; the addresses behind them do as well.
        if found == kind as u16 {
            records.push(match kind {
                Kind::A => Record::Address(Ipv4Addr::from(message.take::<4>()?).into()),
                Kind::Aaaa => Record::Address(Ipv6Addr::from(message.take::<16>()?).into()),
                Kind::Ns => Record::Host(message.name()?),
                Kind::Mx => {
                    message.number()?;
                    Record::Host(message.name()?)
                }
                Kind::Srv => {
                    message.at += 4;
                    let port = message.number()?;
                    Record::Service(message.name()?, port)
                }
            });
        }
        message.at = next;
    }
    Some(Answer::Records(records))
}

/// The servers and search domains of a `resolv.conf`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
}

impl Resolver {
    /// With these servers and no search domains.
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, search: Vec::new() }
    }

    /// The system's.
    pub fn system() -> Self {
        Self::parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A zone (`fe80::1%eth0`) is the system's affair.
                    let address = words.next().and_then(|word| word.split('%').next()).and_then(|word| word.parse::<IpAddr>().ok());
                    out.servers.extend(address.map(|address| SocketAddr::new(address, 53)));
                }
                Some("search" | "domain") => out.search = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        if out.servers.is_empty() {
            out.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
        }
        out
    }

    /// Records of a name: as it is, then with each search domain. A name nobody knows has none.
    ///
    /// # Errors
    /// When no server could tell.
    pub async fn lookup(&self, name: &str, kind: Kind) -> Result<Vec<Record>, String> {
        let absolute = name.ends_with('.');
        let names = std::iter::once(name.to_owned()).chain(self.search.iter().filter(|_| !absolute).map(|domain| format!("{name}.{domain}")));
        let mut problem = None;
        for name in names {
            match self.ask(&name, kind).await {
                Ok(records) if !records.is_empty() => return Ok(records),
                Ok(_) => {}
                Err(reason) => problem = Some(reason),
            }
        }
        problem.map_or(Ok(Vec::new()), Err)
    }

    async fn ask(&self, name: &str, kind: Kind) -> Result<Vec<Record>, String> {
        let mut problem = String::new();
        for server in &self.servers {
            let id = fastrand::u16(..);
            let question = question(id, name, kind)?;
            let asked = tokio::time::timeout(ANSWER_MAX, exchange(*server, &question, id, kind)).await;
            match asked {
                Ok(Ok(Answer::Records(records))) => return Ok(records),
                Ok(Ok(Answer::None)) => return Ok(Vec::new()),
                Ok(Ok(Answer::Failed(code))) => problem = format!("{server} answered {name:?} with the code {code}"),
                Ok(Ok(Answer::Cut)) => problem = format!("{server} cut its answer to {name:?}"),
                Ok(Err(error)) => problem = format!("{server} could not be asked for {name:?}: {error}"),
                Err(_) => problem = format!("{server} did not answer for {name:?} within {} s", ANSWER_MAX.as_secs()),
            }
        }
        Err(problem)
    }
}

async fn exchange(server: SocketAddr, question: &[u8], id: u16, kind: Kind) -> std::io::Result<Answer> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut bytes = vec![0; 4096];
    let first = loop {
        let length = socket.recv(&mut bytes).await?;
        // What does not answer this question is somebody else's, or nobody's.
        if let Some(answer) = answer(&bytes[..length], id, kind) {
            break answer;
        }
    };
    if first != Answer::Cut {
        return Ok(first);
    }
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    answer(&bytes, id, kind).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to `question`: records of one kind, their names pointers to the question's.
    fn reply(question: &[u8], flags: u16, records: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut out = question[..2].to_vec();
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        out.extend_from_slice(&question[12..]);
        for (kind, data) in records {
            out.extend_from_slice(&[0xc0, 12]);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(data);
        }
        out
    }

    #[test]
    fn records_are_read() {
        let asked = question(7, "_http._tcp.example.com", Kind::Srv).unwrap();
        // Port 8080 at `a` and the question's name from byte 23 (`example.com`).
        let service = [&[0, 1, 0, 2, 0x1f, 0x90, 1, b'a', 0xc0, 23][..]].concat();
        let alias = vec![1, b'b', 0];
        let got = answer(&reply(&asked, 0x8180, &[(5, alias), (33, service)]), 7, Kind::Srv);
        assert_eq!(got, Some(Answer::Records(vec![Record::Service("a.example.com".to_owned(), 8080)])));
        let asked = question(7, "h", Kind::A).unwrap();
        assert_eq!(
            answer(&reply(&asked, 0x8180, &[(1, vec![10, 0, 0, 1])]), 7, Kind::A),
            Some(Answer::Records(vec![Record::Address([10, 0, 0, 1].into())]))
        );
        assert_eq!(answer(&reply(&asked, 0x8183, &[]), 7, Kind::A), Some(Answer::None));
        assert_eq!(answer(&reply(&asked, 0x8182, &[]), 7, Kind::A), Some(Answer::Failed(2)));
        assert_eq!(answer(&reply(&asked, 0x8380, &[]), 7, Kind::A), Some(Answer::Cut));
        assert_eq!(answer(&reply(&asked, 0x8180, &[]), 8, Kind::A), None, "another question's");
        assert_eq!(answer(&asked, 7, Kind::A), None, "no answer at all");
    }

    #[test]
    fn broken_answers_end() {
        let asked = question(7, "h.example", Kind::Mx).unwrap();
        // A name that points to itself.
        let at = (reply(&asked, 0x8180, &[]).len() + 12 + 2) as u8;
        let looped = reply(&asked, 0x8180, &[(15, vec![0, 1, 0xc0, at])]);
        assert_eq!(answer(&looped, 7, Kind::Mx), None);
        for length in 0..looped.len() {
            let _ = answer(&looped[..length], 7, Kind::Mx);
        }
        assert!(question(1, "a..b", Kind::A).is_err() && question(1, &"x".repeat(64), Kind::A).is_err());
    }

    #[test]
    fn servers_of_resolv_conf() {
        let got = Resolver::parse("# x\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions ndots:5\n");
        assert_eq!(got.servers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.2:53", "[fe80::1]:53"]);
        assert_eq!(got.search, ["a.example", "b.example"]);
        assert_eq!(Resolver::parse("").servers.len(), 1);
    }

    #[tokio::test]
    async fn a_server_is_asked() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = socket.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut bytes = vec![0; 512];
            let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
            // Somebody else's answer first: it is passed over.
            socket.send_to(&reply(&[&[0xff, 0xff], &bytes[2..length]].concat(), 0x8183, &[]), from).await.unwrap();
            socket.send_to(&reply(&bytes[..length], 0x8180, &[(1, vec![127, 0, 0, 9])]), from).await.unwrap();
        });
        let got = Resolver::new(vec![server]).lookup("h.example", Kind::A).await;
        assert!(got == Ok(vec![Record::Address([127, 0, 0, 9].into())]) || got == Ok(vec![]), "{got:?}");
        serving.await.unwrap();
    }
}
