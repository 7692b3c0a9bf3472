//! As much of HTTP/1.1 as a page on the same machine needs.

use serde_json::Value;
use std::io::{self, Read, Write};

/// Bytes that the head of a request has at most.
const MOST_HEAD: usize = 16 << 10;

/// The head of a request.
#[derive(Debug)]
pub struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// Reads a head; `None` for what is none.
    pub fn read(stream: &mut impl Read) -> io::Result<Option<Request>> {
        let mut head = Vec::new();
        let mut part = [0; 1024];
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = stream.read(&mut part)?;
            head.extend_from_slice(&part[..read]);
            if read == 0 || head.len() > MOST_HEAD {
                return Ok(None);
            }
        }
        Ok(Request::parse(&String::from_utf8_lossy(&head)))
    }

    fn parse(head: &str) -> Option<Request> {
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target, version) = (first.next()?, first.next()?, first.next()?);
        if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
            return None;
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let header = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().to_string()))
        };
        let headers = lines.take_while(|line| !line.is_empty()).filter_map(header).collect();
        Some(Request { method: method.into(), path: path.into(), query: query.into(), headers })
    }

    pub fn method(&self) -> &str {
        &self.method
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }

    /// The value of a header, whose name is in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether it asks for this machine by one of its own names.
    pub fn is_for(&self, port: u16) -> bool {
        let own = ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}"));
        self.header("host").is_some_and(|host| own.iter().any(|own| own == host))
    }

    /// Whether it says this word: as the value of `token` in its address or in a cookie, or as a bearer's.
    pub fn knows(&self, token: &str) -> bool {
        let bearer =
            self.header("authorization").and_then(|said| said.strip_prefix("Bearer ")).map(str::to_string);
        let cookies = self.header("cookie").unwrap_or_default().split(';');
        let cookie =
            cookies.filter_map(|cookie| cookie.trim().strip_prefix(COOKIE)).next().map(str::to_string);
        [self.query("token"), bearer, cookie].into_iter().flatten().any(|said| is_same(&said, token))
    }

    /// A value of the query.
    pub fn query(&self, name: &str) -> Option<String> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| decoded(value))
    }
}

/// In front of the token in a cookie.
const COOKIE: &str = "dropforge_token=";

/// Whether two texts are the same, in a time that does not tell where they differ.
fn is_same(said: &str, token: &str) -> bool {
    let differences = said.bytes().zip(token.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    said.len() == token.len() && differences == 0
}

/// Text with `%20` and the like.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|code| std::str::from_utf8(code).ok());
        match (bytes[at], code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A whole answer.
pub struct Response {
    status: u16,
    kind: &'static str,
    body: String,
    cookie: String,
}

impl Response {
    fn new(status: u16, kind: &'static str, body: String) -> Response {
        Response { status, kind, body, cookie: String::new() }
    }

    /// Has the browser say this word from now on, to this server alone.
    pub fn with_token(self, token: &str) -> Response {
        let cookie = format!("Set-Cookie: {COOKIE}{token}; HttpOnly; SameSite=Strict; Path=/\r\n");
        Response { cookie, ..self }
    }

    pub fn text(status: u16, body: &str) -> Response {
        Response::new(status, "text/plain; charset=utf-8", body.into())
    }

    pub fn html(body: &str) -> Response {
        Response::new(200, "text/html; charset=utf-8", body.into())
    }

    pub fn json(body: &Value) -> Response {
        Response::new(200, "application/json", body.to_string())
    }

    pub fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let Response { status, kind, body, cookie } = self;
        let reason = if *status == 200 { "OK" } else { "No" };
        // The page may load nothing from elsewhere, whatever stands in the names of runs.
        write!(
            stream,
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{cookie}Cache-Control: no-store\r\n\
             Content-Security-Policy: default-src 'self' 'unsafe-inline'\r\nX-Content-Type-Options: nosniff\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )?;
        stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let text =
            "POST /api/stop?run=a%20b%2Fc&x=1 HTTP/1.1\r\nHost: localhost:8080\r\nX-Dropforge: 1\r\n\r\nbody";
        let request = Request::read(&mut text.as_bytes()).unwrap().unwrap();
        assert!(request.is("POST", "/api/stop") && request.is_for(8080) && !request.is_for(80));
        assert_eq!(request.query("run").as_deref(), Some("a b/c"));
        assert_eq!((request.header("x-dropforge"), request.query("y")), (Some("1"), None));
        let sixth = "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n";
        assert!(Request::read(&mut sixth.as_bytes()).unwrap().unwrap().is_for(8080));
        let rebound = "GET / HTTP/1.1\r\nHost: elsewhere.example:8080\r\n\r\n";
        assert!(!Request::read(&mut rebound.as_bytes()).unwrap().unwrap().is_for(8080));
    }

    #[test]
    fn tokens() {
        let request = |text: &str| Request::read(&mut text.as_bytes()).unwrap().unwrap();
        for good in [
            "GET /?token=s3cret HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n\r\n",
            "GET / HTTP/1.1\r\nCookie: a=b; dropforge_token=s3cret\r\n\r\n",
        ] {
            assert!(request(good).knows("s3cret"), "{good}");
        }
        for bad in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET /?token=s3cre HTTP/1.1\r\n\r\n",
            "GET /?token=s3crets HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nAuthorization: Bearer\r\n\r\n",
        ] {
            assert!(!request(bad).knows("s3cret"), "{bad}");
        }
    }

    #[test]
    fn what_is_no_request() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MOST_HEAD));
        for text in [
            "",
            "\r\n\r\n",
            "GET\r\n\r\n",
            "GET x HTTP/1.1\r\n\r\n",
            "GET / FTP\r\n\r\n",
            &long,
            "GET / HTTP/1.1\r\n",
        ] {
            assert!(Request::read(&mut text.as_bytes()).unwrap().is_none(), "{text}");
        }
        assert_eq!(decoded("%zz%4"), "%zz%4");
    }
}
