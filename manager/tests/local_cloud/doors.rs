//! What a guest, and a QEMU that its guest has taken over, can reach of this host.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use image_manager::cloud::{Cloud as _, NewServer, Removal, ServerStatus};

use crate::bench::{Bench, server_row};
use crate::guest::tiny_image;

/// Listens and says a word to whoever comes, until the test's process ends.
fn listener(address: &str, word: &'static str) -> u16 {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A guest may have given up.
            let _ = stream.and_then(|mut stream| stream.write_all(word.as_bytes()));
        }
    });
    port
}

/// The address by which this host goes outside.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: it only asks for the way.
    socket.connect("203.0.113.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The name of this host's own Debian mirror, where apt's sources name one by plain HTTP.
fn mirror() -> Option<String> {
    let lists = fs::read_dir("/etc/apt/sources.list.d").ok()?.flatten().map(|entry| entry.path());
    let texts = lists.chain([Path::new("/etc/apt/sources.list").to_owned()]).flat_map(fs::read_to_string);
    let text = texts.collect::<Vec<_>>().join("\n");
    let (_, rest) = text.split_once("http://")?;
    let host = rest.split(['/', ' ', '\n']).next()?;
    (!host.contains(':') && host.parse::<IpAddr>().is_err()).then(|| host.to_owned())
}

/// That mirror's address, when this host reaches it.
fn outside(mirror: &str) -> Option<SocketAddr> {
    let address = (mirror, 80).to_socket_addrs().ok()?.find(SocketAddr::is_ipv4)?;
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok().map(|_| address)
}

/// What a guest tries: `tried NAME [what was said]`, and `joined NAME` when the connection was made.
fn program(tries: &[(&str, String)], name: &str) -> String {
    let lines = tries.iter().map(|(name, target)| {
        format!("said=$(nc -w 4 {target} </dev/null) && echo joined {name}; echo \"tried {name} [$said]\"\n")
    });
    format!(
        "#!/bin/sh\nexec >/dev/console 2>&1\n\
         until ip route | grep -q default; do sleep 0.2; done\n{}\
         nslookup {name} >/run/names && echo \"resolved the mirror\"\n\
         echo all-tried\n",
        lines.collect::<String>()
    )
}

#[tokio::test]
async fn a_guest_reaches_the_gateway_and_the_outside_and_nothing_else_of_this_host() {
    let bench = Bench::new();
    let gateway = listener("127.0.0.1:0", "gateway");
    let other = listener("127.0.0.1:0", "other");
    let everywhere = listener("0.0.0.0:0", "everywhere");
    let mirror = mirror();
    let (outside, own) = (mirror.as_deref().and_then(outside), own_address());
    let mut tries = vec![
        ("gateway", format!("10.0.2.2 {gateway}")),
        ("other", format!("10.0.2.2 {other}")),
        ("everywhere", format!("10.0.2.2 {everywhere}")),
        ("metadata", "169.254.169.254 80".to_owned()),
    ];
    tries.extend(own.map(|own| ("own", format!("{own} {everywhere}"))));
    tries.extend(outside.map(|outside| ("outside", format!("{} 80", outside.ip()))));
    let Some(file) = tiny_image(&bench, "", &program(&tries, mirror.as_deref().unwrap_or("localhost")))
    else {
        return;
    };
    let image = bench.upload("image-manager-1", file).await.unwrap();
    let mut new = bench.server(&image);
    new.metadata.insert("image_manager_endpoint".into(), format!("10.0.2.2:{gateway}"));
    let server = bench.cloud.boot(&new, &bench.ledger).await.unwrap();
    let console = bench.console_says(&server, "all-tried").await;
    println!(
        "{}",
        console
            .lines()
            .filter(|line| line.contains("tried") || line.contains("joined"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    assert!(console.contains("tried gateway [gateway]"), "{console}");
    for closed in ["other", "everywhere", "own"] {
        assert!(!console.contains(&format!("tried {closed} [{closed}]")), "{closed}: {console}");
        assert!(!console.contains("[everywhere]"), "{closed}: {console}");
    }
    assert!(!console.contains("joined metadata"), "the metadata of this host's own cloud: {console}");
    if outside.is_some() {
        assert!(console.contains("joined outside"), "{console}");
        assert!(console.contains("resolved the mirror"), "{console}");
    }
    bench.clean_up().await;
}

/// What a listener says to whoever is in the network of a QEMU; `None`: it is not reached.
fn heard_inside(qemu: i32, address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    inside(qemu, || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(3)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        let mut word = String::new();
        stream.read_to_string(&mut word).ok()?;
        Some(word)
    })
}

/// Does something in the network of a QEMU.
fn inside<T: Send>(qemu: i32, what: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        let network = fs::File::open(format!("/proc/{qemu}/ns/net")).unwrap();
        nix::sched::setns(network, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        what()
    };
    std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
}

#[tokio::test]
async fn a_qemu_that_its_guest_has_taken_over_reaches_no_more_than_the_guest() {
    let bench = Bench::new();
    let gateway = listener("127.0.0.1:0", "gateway");
    let other = listener("127.0.0.1:0", "other");
    let six = listener("[::1]:0", "six");
    let everywhere = listener("0.0.0.0:0", "everywhere");
    let name =
        std::os::unix::net::SocketAddr::from_abstract_name(bench.state.to_str().unwrap().get(..60).unwrap());
    let name = name.unwrap();
    let _bound = UnixListener::bind_addr(&name).unwrap();
    assert!(UnixStream::connect_addr(&name).is_ok());
    let image = bench.empty_image().await;
    let mut new = bench.server(&image);
    let boot = async |endpoint: String, new: &mut NewServer| {
        new.metadata.insert("image_manager_endpoint".into(), endpoint);
        bench.cloud.boot(new, &bench.ledger).await.unwrap();
        bench.qemus()[0]
    };
    let qemu = boot(format!("10.0.2.2:{gateway}"), &mut new).await;
    assert_eq!(heard_inside(qemu, &format!("127.0.0.1:{gateway}")).as_deref(), Some("gateway"));
    let mut closed = vec![
        format!("127.0.0.1:{other}"),
        format!("127.0.0.1:{everywhere}"),
        format!("[::1]:{six}"),
        format!("[::1]:{other}"),
        format!("192.0.0.1:{other}"),
        format!("192.0.0.2:{everywhere}"),
        "169.254.169.254:80".to_owned(),
    ];
    closed.extend(own_address().map(|own| format!("{own}:{everywhere}")));
    for address in closed {
        assert_eq!(heard_inside(qemu, &address), None, "{address}");
    }
    assert!(inside(qemu, || UnixStream::connect_addr(&name)).is_err(), "an abstract socket of this host");
    assert_eq!(bench.cloud.remove(&server_row("image-manager-1")).await.unwrap(), Removal::Gone);

    // A gateway at an address of this host: that port of it, and no other.
    let Some(own) = own_address() else { return bench.clean_up().await };
    let second = listener("0.0.0.0:0", "second");
    let qemu = boot(format!("{own}:{everywhere}"), &mut new).await;
    assert_eq!(heard_inside(qemu, &format!("{own}:{everywhere}")).as_deref(), Some("everywhere"));
    assert_eq!(heard_inside(qemu, &format!("{own}:{second}")), None);
    assert_eq!(heard_inside(qemu, &format!("127.0.0.1:{everywhere}")), None);
    bench.clean_up().await;
}

fn status_line(pid: i32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn qemu_is_a_user_of_its_own_without_rights() {
    let bench = Bench::new();
    let image = bench.empty_image().await;
    let server = bench.boot(&image).await;
    let pid = bench.qemus()[0];
    let user = nix::unistd::User::from_name("image-manager-qemu").unwrap().expect("setup/install makes it");
    assert_ne!(user.uid.as_raw(), 0);
    assert_eq!(status_line(pid, "Uid"), [user.uid.as_raw(); 4].map(|id| id.to_string()).join(" "));
    for rights in ["CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status_line(pid, rights), "0000000000000000", "{rights}");
    }
    assert_eq!(status_line(pid, "NoNewPrivs"), "1");
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    assert_ne!(fs::read_link(format!("/proc/{pid}/ns/net")).unwrap(), own);
    assert_ne!(
        fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap(),
        fs::read_link("/proc/self/ns/pid").unwrap()
    );
    // Nothing of the server is anybody's to read, and only its sockets lie where that user may write.
    let home = bench.state.join("servers/image-manager-1");
    assert_closed(&home);
    assert_eq!(bench.status(&server).await, ServerStatus::Active);
    bench.clean_up().await;
}

fn assert_closed(directory: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let found = entry.path().symlink_metadata().unwrap();
        if found.is_dir() {
            assert_eq!(found.mode() & 0o777, 0o700, "{}", entry.path().display());
            continue;
        }
        assert_eq!(found.mode() & 0o007, 0, "{}", entry.path().display());
        assert_eq!(found.uid(), 0, "{}", entry.path().display());
    }
}

#[tokio::test]
async fn a_network_goes_with_its_qemu_and_the_end_is_told() {
    let bench = Bench::new();
    let image = bench.empty_image().await;
    let server = bench.boot(&image).await;
    assert!(bench.pids().len() > bench.qemus().len(), "QEMU has a network of its own");
    let qemu = nix::unistd::Pid::from_raw(bench.qemus()[0]);
    nix::sys::signal::kill(qemu, nix::sys::signal::Signal::SIGKILL).unwrap();
    let ServerStatus::Error(text) = bench.end_of(&server).await else { panic!("it was killed") };
    assert!(text.contains("signal 9"), "{text}");
    for _ in 0..100 {
        if bench.pids().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(bench.pids(), [0; 0], "nobody has ended its network");
    bench.clean_up().await;
}
