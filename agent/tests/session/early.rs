//! The agent starts long before its server has a network.

use std::process::Command;
use std::time::{Duration, Instant};

use image_manager_agent::End;
use nix::sched::{CloneFlags, unshare};

use super::gateway::{Gateway, TestServer, ended};

/// In a network namespace of this thread's, where only loopback is, and that has no address at first.
#[test]
fn the_manager_is_dialled_as_soon_as_there_is_a_network() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let alone = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(dials_once_it_can());
    });
    alone.join().unwrap();
}

async fn dials_once_it_can() {
    ip("link set lo up");
    let mut gateway = Gateway::start().await;
    ip("link set lo down");
    ip("address flush dev lo");
    let mut server = TestServer::of(&gateway);
    // Whoever waits that long after a dial that failed comes late.
    server.config.times.redial = (Duration::from_secs(20), Duration::from_secs(20));
    let agent = server.start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    ip("link set lo up");
    ip("address replace 127.0.0.1/8 dev lo");
    let there = Instant::now();
    let (stream, _) = gateway.welcome(0).await;
    assert!(there.elapsed() < Duration::from_secs(5), "it came after {:?}", there.elapsed());
    let mut stream = stream;
    stream.hear().await;
    stream.accept().await;
    assert_eq!(ended(agent).await.unwrap(), End::Reported);
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(done.success(), "ip (iproute2) {arguments}");
}
