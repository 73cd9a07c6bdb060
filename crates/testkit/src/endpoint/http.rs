//! Just enough HTTP/1.1: one request per connection, bounded, and an answer that ends with the connection.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
};

/// Bytes of a request's head and of its body.
const LONGEST_HEAD: u64 = 256 << 10;
const LONGEST_BODY: u64 = 64 << 20;

/// A request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

/// A body with its type.
pub(super) struct Body {
    kind: &'static str,
    bytes: Vec<u8>,
}

impl Body {
    pub(super) fn json(value: &serde_json::Value) -> Self {
        Self { kind: "application/json", bytes: value.to_string().into_bytes() }
    }

    pub(super) fn text(text: &str) -> Self {
        Self { kind: "text/plain", bytes: text.as_bytes().to_vec() }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads a request; `None` when the other side left without a word.
pub(super) fn read(stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut answers = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut head = (&mut reader).take(LONGEST_HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(bad("no request line")) };
    let (method, path) = (method.to_owned(), target.split('?').next().unwrap_or(target).to_owned());
    let (mut length, mut chunked, mut waits) = (0_u64, false, false);
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Err(bad("the head does not end"));
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("content-length", value) => length = value.parse().map_err(|_| bad("no length"))?,
            ("transfer-encoding", value) => chunked = value.eq_ignore_ascii_case("chunked"),
            ("expect", value) => waits = value.eq_ignore_ascii_case("100-continue"),
            _ => {}
        }
    }
    if waits {
        answers.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let mut line = String::new();
            (&mut reader).take(LONGEST_HEAD).read_line(&mut line)?;
            let size = line.trim().split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size, 16).map_err(|_| bad("no chunk size"))?;
            if size + body.len() as u64 > LONGEST_BODY {
                return Err(bad("too long"));
            }
            (&mut reader).take(size).read_to_end(&mut body)?;
            let mut end = String::new();
            (&mut reader).take(LONGEST_HEAD).read_line(&mut end)?;
            if size == 0 {
                break;
            }
        }
    } else if length > LONGEST_BODY {
        return Err(bad("too long"));
    } else {
        reader.take(length).read_to_end(&mut body)?;
    }
    Ok(Some(Request { method, path, body }))
}

/// Sends a head; what is written then is the body, to the end of the connection.
pub(super) fn head(stream: &mut TcpStream, status: u16, headers: &[(&str, &str)]) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        529 => "Overloaded",
        _ => "Answer",
    };
    let mut text = format!("HTTP/1.1 {status} {reason}\r\nconnection: close\r\ncache-control: no-store\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes())
}

/// Sends a whole answer.
pub(super) fn respond(stream: &mut TcpStream, status: u16, headers: &[(&str, &str)], body: &Body) -> io::Result<()> {
    let length = body.bytes.len().to_string();
    let mut all = headers.to_vec();
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        all.push(("content-type", body.kind));
    }
    all.push(("content-length", &length));
    head(stream, status, &all)?;
    stream.write_all(&body.bytes)
}

/// An event of a stream.
pub(super) fn event(name: Option<&str>, data: &serde_json::Value) -> String {
    match name {
        Some(name) => format!("event: {name}\ndata: {data}\n\n"),
        None => format!("data: {data}\n\n"),
    }
}
