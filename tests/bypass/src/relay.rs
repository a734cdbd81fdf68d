//! A proxy that somebody runs for others, and that an attacker finds: the first line it is told names an address, and what follows goes there.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;
use test_world::Node;

const IDLE: Duration = Duration::from_secs(2);

/// Starts one on every address of a node, until the process ends.
pub(crate) fn start(node: &Node, port: u16) -> Result<()> {
    let listener = node.within(|| TcpListener::bind(("::", port)))??;
    let node = node.clone();
    let accept = move || {
        for stream in listener.incoming().flatten() {
            let node = node.clone();
            // Whoever asks for what cannot be had gets nothing.
            thread::spawn(move || drop(node.within(|| carry(&stream))));
        }
    };
    thread::Builder::new().spawn(accept).context("a thread").map(drop)
}

fn carry(stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    let mut words = BufReader::new(stream);
    let mut to = String::new();
    words.read_line(&mut to)?;
    let to: SocketAddr = to.trim().parse()?;
    let mut upstream = TcpStream::connect_timeout(&to, IDLE)?;
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = words.read(&mut bytes) {
        upstream.write_all(&bytes[..length])?;
    }
    Ok(())
}
