//! Many who say nothing at the operator port: whoever has something to say is heard all the same.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::control::Control;
use super::harness::{Place, text, wait_for};

/// More than a process may have open here, and than the port has places.
const SILENT: usize = 1100;

fn health(operator: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(operator)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(text(&answer))
}

#[test]
fn silent_connections_do_not_shut_the_operator_port() {
    let place = Place::tiny("");
    let serving = place.serve();
    let pid = format!("--pid={}", serving.child.id());
    assert!(Command::new("prlimit").args([&pid, "--nofile=1024:1024"]).status().unwrap().success());
    let control = Control::of(&serving);
    assert_eq!(control.schedules().schedules.len(), 1);
    // Half of them begin a request and never end it.
    let crowd: Vec<TcpStream> = (0..SILENT)
        .map(|number| {
            let mut stream = TcpStream::connect(&serving.operator).unwrap();
            if number % 2 == 0 {
                stream.write_all(b"GET /").unwrap();
            }
            stream
        })
        .collect();
    // HTTP's own patience with each of them is 30 seconds.
    let answer = wait_for("an answer in the crowd", Duration::from_secs(15), || {
        health(&serving.operator).ok().filter(|answer| !answer.is_empty())
    });
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    let files = format!("/proc/{}/fd", serving.child.id());
    wait_for("those without a place to be gone", Duration::from_secs(10), || {
        (std::fs::read_dir(&files).unwrap().count() < 600).then_some(())
    });
    drop(crowd);
    assert_eq!(control.schedules().schedules.len(), 1);
    assert_eq!(serving.terminate(), Some(0));
}
