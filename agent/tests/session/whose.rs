//! Whose the agent is: it proves its key to its manager, and obeys no other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use image_manager_agent::{End, PATHS};
use image_manager_proto::v1::Challenge;
use image_manager_proto::v1::agent_message::Kind;
use image_manager_proto::v1::manager_message::Kind as ManagerKind;
use image_manager_proto::{NONCE, proof_message};
use ring::signature::{ED25519, UnparsedPublicKey};
use rustls::pki_types::PrivateKeyDer;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::gateway::{Gateway, TestServer, ended, meta_data, put};

#[tokio::test]
async fn a_key_is_proved_to_this_manager_in_this_stream() {
    let mut gateway = Gateway::start().await;
    let server = TestServer::of(&gateway);
    let agent = server.start();
    let mut keys = Vec::new();
    for nonce in [vec![1; NONCE], vec![2; NONCE]] {
        let mut stream = gateway.next().await;
        let Kind::Hello(hello) = stream.hear().await else { panic!("the first message is no Hello") };
        stream.say(ManagerKind::Challenge(Challenge { nonce: nonce.clone() })).await;
        let Kind::Proof(proof) = stream.hear().await else { panic!("no proof") };
        let key = UnparsedPublicKey::new(&ED25519, &hello.public_key);
        let signed = |nonce: &[u8]| proof_message(nonce, &gateway.fingerprint, "0199-build");
        key.verify(&signed(&nonce), &proof.signature).unwrap();
        assert!(key.verify(&signed(&[3; NONCE]), &proof.signature).is_err());
        keys.push(hello.public_key.clone());
        stream.break_off().await;
    }
    assert_eq!(keys[0], keys[1], "one agent has one key");
    // What is no challenge is not signed, nor is a second one.
    for nonces in [vec![vec![1; 5]], vec![vec![1; NONCE], vec![2; NONCE]]] {
        let mut stream = gateway.next().await;
        stream.hear().await;
        for nonce in &nonces {
            stream.say(ManagerKind::Challenge(Challenge { nonce: nonce.clone() })).await;
        }
        assert!(stream.gives_up().await);
    }
    agent.abort();
}

/// A manager that is none of ours: it listens, its certificate is the one that its metadata names, and nothing of the
/// agent comes.
#[tokio::test]
async fn a_rogue_manager_is_sent_nothing() {
    let mut rogue = Gateway::start().await;
    for baked in [format!("{}\n", "ab".repeat(32)), "nonsense\n".to_owned(), String::new()] {
        let server = TestServer::of(&rogue);
        put(server.folder.path(), "etc/image-manager/manager", &baked);
        assert_eq!(ended(server.start()).await.unwrap(), End::NotOurs);
        assert!(server.left().is_empty(), "{:?}", server.left());
    }
    let server = TestServer::of(&rogue);
    std::fs::remove_file(server.config.guest.path("/etc/image-manager/manager")).unwrap();
    assert_eq!(ended(server.start()).await.unwrap(), End::NotOurs);
    assert!(rogue.stays_alone(Duration::from_millis(300)).await);
    assert_eq!(rogue.refused.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn metadata_of_another_build_is_nobodys() {
    let mut gateway = Gateway::start().await;
    let server = TestServer::of(&gateway);
    put(server.folder.path(), "etc/image-manager/build", "0199-other\n");
    assert_eq!(ended(server.start()).await.unwrap(), End::NotOurs);
    assert!(server.left().is_empty());
    assert!(gateway.stays_alone(Duration::from_millis(300)).await);
}

/// As an image has it: the program itself, in a root of its own.
#[test]
fn the_program_removes_itself_before_a_rogue_manager() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let server = TestServer::new(&meta_data(listener.local_addr().unwrap(), &"cd".repeat(32)));
    put(server.folder.path(), "etc/image-manager/manager", &"ab".repeat(32));
    std::fs::copy(env!("CARGO_BIN_EXE_image-manager-agent"), server.config.guest.path(PATHS[7])).unwrap();
    // With the host's libraries, since the tests' program is not static; the mounts go with the namespace.
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .arg(
            "for d in lib lib64 usr/lib; do [ -d /$d ] || continue; mkdir -p $0/$d; mount --rbind /$d $0/$d; done
             exec timeout 60 chroot $0 /usr/local/sbin/image-manager-agent --meta-data /meta_data.json",
        )
        .arg(server.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("another manager than the one that made this image"),
        "{said}"
    );
    assert!(server.left().is_empty(), "{:?}", server.left());
    assert!(listener.accept().is_err(), "it has dialled");
}

/// It has the certificate that the image names, and speaks what no manager speaks.
#[tokio::test]
async fn a_manager_that_speaks_tls_1_2_gets_no_token() {
    let certified = rcgen::generate_simple_self_signed(vec!["manager".to_owned()]).unwrap();
    let fingerprint = format!("{:x}", Sha256::digest(certified.cert.der()));
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = TestServer::new(&meta_data(listener.local_addr().unwrap(), &fingerprint));
    let agent = server.start();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    for _ in 0..2 {
        let (stream, _) = listener.accept().await.unwrap();
        assert!(acceptor.accept(stream).await.is_err(), "the agent has taken TLS 1.2");
    }
    agent.abort();
}
