//! An HTTP server and client on tokio and hyper, for the tests of languages: `serve ADDRESS PORT`, or `ask URL…`.
//!
//! The server answers `/N` with N bytes, and tells the sum of the body that it was sent as `x-sum`.

use std::env;
use std::error::Error;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri, client, server};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

type Fault = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Fault> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = Runtime::new()?;
    match &words[..] {
        ["serve", address, port] => runtime.block_on(serve(&format!("{address}:{port}"))),
        ["ask", urls @ ..] => runtime.block_on(ask(urls)),
        _ => Err("serve ADDRESS PORT, or ask URL…".into()),
    }
}

async fn serve(at: &str) -> Result<(), Fault> {
    let listener = TcpListener::bind(at).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let connection =
            server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(connection);
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Fault> {
    let size = request.uri().path().trim_start_matches('/').parse()?;
    let sent = request.into_body().collect().await?.to_bytes();
    Ok(Response::builder().header("x-sum", sum(&sent)).body(Full::from(vec![b'x'; size]))?)
}

/// Asks for all at the same time, each by a connection of its own that carries two requests.
async fn ask(urls: &[&str]) -> Result<(), Fault> {
    let mut tasks = JoinSet::new();
    for url in urls {
        tasks.spawn(ask_one(url.parse()?));
    }
    let mut told = Vec::new();
    while let Some(task) = tasks.join_next().await {
        told.push(task??);
    }
    told.sort();
    told.iter().for_each(|line| println!("{line}"));
    Ok(())
}

async fn ask_one(url: Uri) -> Result<String, Fault> {
    let authority = url.authority().ok_or("a URL without a host")?.to_string();
    let stream = TcpStream::connect(&authority).await?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut told = url.path().to_owned();
    for body in [vec![], vec![b'b'; 300_000]] {
        let request = Request::post(url.path()).header("host", &authority).body(Full::<Bytes>::from(body))?;
        let response = sender.send_request(request).await?;
        let header = response.headers().get("x-sum").map_or("", |sum| sum.to_str().unwrap_or_default());
        let header = header.to_owned();
        let body = response.into_body().collect().await?.to_bytes();
        told += &format!(" {header} {} {}", body.len(), sum(&body));
    }
    Ok(told)
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}
