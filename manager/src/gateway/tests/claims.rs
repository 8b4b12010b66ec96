//! Two who come with one token.

use image_manager_proto::proof_message;
use image_manager_proto::v1::{Challenge, Proof};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::super::{Conflict, Contest};
use super::*;

const BUILD: &str = "build-1";

/// Makes a signature from an earlier nonce and this one's.
type Make<'a> = Box<dyn Fn(&[u8], &[u8]) -> Vec<u8> + 'a>;

fn key() -> Ed25519KeyPair {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()
}

fn prove(key: &Ed25519KeyPair, nonce: &[u8], fingerprint: &str, build_id: &str) -> Vec<u8> {
    key.sign(&proof_message(nonce, fingerprint, build_id)).as_ref().to_vec()
}

impl TestGateway {
    /// Says Hello with a key, and hears the challenge.
    async fn knock(&self, token: &str, boot: &str, key: &Ed25519KeyPair) -> Result<(Agent, Vec<u8>), Status> {
        let (say, said) = mpsc::channel(16);
        let public_key = key.public_key().as_ref().to_vec();
        let hello = Hello { boot_id: boot.to_owned(), public_key, ..Hello::default() };
        say.send(message(agent_message::Kind::Hello(hello))).await.unwrap();
        let request = bearing(token, ReceiverStream::new(said));
        let hear = AgentGatewayClient::new(self.channel().await).attach(request).await?.into_inner();
        let mut agent = Agent { say, hear };
        match agent.hear().await? {
            manager_message::Kind::Challenge(Challenge { nonce }) => Ok((agent, nonce)),
            other => panic!("{other:?}"),
        }
    }

    /// Attaches as an agent does.
    async fn attach_as(&self, token: &str, boot: &str, key: &Ed25519KeyPair) -> Result<Agent, Status> {
        let (agent, nonce) = self.knock(token, boot, key).await?;
        agent.say_proof(prove(key, &nonce, &self.fingerprint, BUILD)).await;
        Ok(agent)
    }
}

impl Agent {
    async fn say_proof(&self, signature: Vec<u8>) {
        self.say(agent_message::Kind::Proof(Proof { signature })).await;
    }

    async fn welcomed(&mut self) {
        let heard = self.hear().await;
        assert!(matches!(heard, Ok(manager_message::Kind::Welcome(_))), "{heard:?}");
    }
}

async fn contested(session: &mut Session) -> Contest {
    loop {
        match next(session).await {
            AgentEvent::Contested(contest) => return *contest,
            AgentEvent::Detached { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_same_agent_comes_again_with_its_key() {
    let place = TestGateway::new(|_| {}).await;
    let (token, mut session) = place.session(vec![check("disk")]);
    let key = key();
    let mut first = place.attach_as(token.expose(), "boot-1", &key).await.unwrap();
    let claimant = admit(&mut session).await;
    assert_eq!((claimant.key.as_slice(), claimant.from().as_str()), (key.public_key().as_ref(), "127.0.0.1"));
    first.welcomed().await;
    // While the manager has not noticed that the first is dead, and after it has.
    let mut second = place.attach_as(token.expose(), "boot-1", &key).await.unwrap();
    admit(&mut session).await;
    second.welcomed().await;
    drop(second);
    assert!(matches!(next(&mut session).await, AgentEvent::Detached { .. }));
    place.attach_as(token.expose(), "boot-1", &key).await.unwrap().finish(&mut session).await;
    assert!(session.contest().is_none());
}

#[tokio::test]
async fn nothing_is_asked_of_an_agent_before_the_build_takes_it_in() {
    let place = TestGateway::new(|settings| settings.heartbeat_interval = Duration::from_millis(100)).await;
    let (token, mut session) = place.session(vec![check("disk")]);
    let mut agent = place.attach_as(token.expose(), "boot-1", &key()).await.unwrap();
    let AgentEvent::Attached { admit, .. } = next(&mut session).await else { panic!() };
    assert!(timeout(Duration::from_millis(500), agent.hear.message()).await.is_err(), "something was said");
    admit.send(()).unwrap();
    agent.welcomed().await;
    // One that is not taken in is let go.
    let (token, mut session) = place.session(vec![check("disk")]);
    let mut agent = place.attach_as(token.expose(), "boot-1", &key()).await.unwrap();
    drop(next(&mut session).await);
    assert!(agent.hear().await.is_err());
}

#[tokio::test]
async fn a_second_claimant_contests_while_the_first_is_attached() {
    let place = TestGateway::new(|_| {}).await;
    // With a key of its own from another boot and from the same, and without any.
    for (boot, own_key) in [("boot-2", true), ("boot-1", true), ("boot-1", false), ("boot-2", false)] {
        let (token, mut session) = place.session(vec![check("disk")]);
        let mut honest = place.attach_as(token.expose(), "boot-1", &key()).await.unwrap();
        admit(&mut session).await;
        honest.welcomed().await;
        let second = if own_key {
            place.attach_as(token.expose(), boot, &key()).await
        } else {
            place.attach(token.expose(), boot).await
        };
        assert_eq!(second.unwrap_err().code(), Code::AlreadyExists);
        let contest = contested(&mut session).await;
        assert_eq!(contest.conflict, Conflict::OtherKey);
        let evidence = contest.evidence();
        assert!(
            evidence.contains("boot id boot-1") && evidence.contains(&format!("boot id {boot}")),
            "{evidence}"
        );
        assert_eq!(evidence.matches("from 127.0.0.1 at 20").count(), 2, "{evidence}");
        // What the honest one says now is not heard any more: the build has ended.
        honest.say(agent_message::Kind::CheckResult(passed("disk"))).await;
        assert!(matches!(next(&mut session).await, AgentEvent::Contested(_)));
        assert!(session.contest().is_some());
    }
    assert_eq!(place.log.count("its token is bound to another agent"), 1);
}

#[tokio::test]
async fn a_second_claimant_contests_after_the_first_stream_broke() {
    let place = TestGateway::new(|_| {}).await;
    for first_has_key in [true, false] {
        let (token, mut session) = place.session(vec![check("disk")]);
        let honest = if first_has_key {
            place.attach_as(token.expose(), "boot-1", &key()).await.unwrap()
        } else {
            place.attach(token.expose(), "boot-1").await.unwrap()
        };
        admit(&mut session).await;
        drop(honest);
        assert!(matches!(next(&mut session).await, AgentEvent::Detached { .. }));
        let second = place.attach(token.expose(), "boot-1").await.unwrap_err();
        assert_eq!(second.code(), Code::AlreadyExists);
        assert_eq!(contested(&mut session).await.conflict, Conflict::OtherKey);
        // And the first does not come back any more.
        let back = place.attach_as(token.expose(), "boot-1", &key()).await.unwrap_err();
        assert_eq!(back.code(), Code::AlreadyExists);
    }
}

#[tokio::test]
async fn the_true_agent_contests_when_a_thief_was_first_even_after_the_last_word() {
    let place = TestGateway::new(|_| {}).await;
    let (token, mut session) = place.session(vec![check("disk")]);
    place.attach_as(token.expose(), "boot-x", &key()).await.unwrap().finish(&mut session).await;
    assert!(session.contest().is_none());
    let late = place.attach_as(token.expose(), "boot-1", &key()).await.unwrap_err();
    assert_eq!(late.code(), Code::AlreadyExists);
    assert_eq!(session.contest().unwrap().second.boot_id, "boot-1");
}

#[tokio::test]
async fn of_two_who_come_at_once_one_contests() {
    let place = TestGateway::new(|_| {}).await;
    let (token, mut session) = place.session(vec![check("disk")]);
    let (keys, print) = ([key(), key()], place.fingerprint.clone());
    // Both have said Hello before either has proved anything.
    let (first, nonce_1) = place.knock(token.expose(), "boot-1", &keys[0]).await.unwrap();
    let (mut second, nonce_2) = place.knock(token.expose(), "boot-2", &keys[1]).await.unwrap();
    first.say_proof(prove(&keys[0], &nonce_1, &print, BUILD)).await;
    admit(&mut session).await;
    second.say_proof(prove(&keys[1], &nonce_2, &print, BUILD)).await;
    assert_eq!(second.hear().await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(contested(&mut session).await.conflict, Conflict::OtherKey);
}

#[tokio::test]
async fn wrong_and_replayed_proofs_contest() {
    let place = TestGateway::new(|_| {}).await;
    let print = place.fingerprint.clone();
    let (honest_key, other_key) = (key(), key());
    let proofs: [(&str, Make<'_>); 6] = [
        ("another key's", Box::new(|_, nonce| prove(&other_key, nonce, &print, BUILD))),
        ("replayed", Box::new(|before, _| prove(&honest_key, before, &print, BUILD))),
        ("for another manager", Box::new(|_, nonce| prove(&honest_key, nonce, &"ab".repeat(32), BUILD))),
        ("for another build", Box::new(|_, nonce| prove(&honest_key, nonce, &print, "build-2"))),
        ("empty", Box::new(|_, _| Vec::new())),
        ("long", Box::new(|_, _| vec![7; 100_000])),
    ];
    for (what, make) in proofs {
        let (token, mut session) = place.session(vec![check("disk")]);
        let (honest, before) = place.knock(token.expose(), "boot-1", &honest_key).await.unwrap();
        honest.say_proof(prove(&honest_key, &before, &print, BUILD)).await;
        admit(&mut session).await;
        // It names the honest agent's key, which is no secret.
        let (mut thief, nonce) = place.knock(token.expose(), "boot-1", &honest_key).await.unwrap();
        assert_ne!(nonce, before);
        thief.say_proof(make(&before, &nonce)).await;
        assert_eq!(thief.hear().await.unwrap_err().code(), Code::PermissionDenied, "{what}");
        let contest = contested(&mut session).await;
        assert_eq!((contest.conflict, contest.first.is_some()), (Conflict::WrongProof, true), "{what}");
    }
    // Nobody was there before, and it is none of ours all the same.
    let (token, mut session) = place.session(vec![check("disk")]);
    let (thief, nonce) = place.knock(token.expose(), "boot-1", &honest_key).await.unwrap();
    thief.say_proof(prove(&other_key, &nonce, &print, BUILD)).await;
    assert!(contested(&mut session).await.message().contains("a wrong proof"));
}

#[tokio::test]
async fn who_proves_nothing_is_refused_and_contests_nothing() {
    let place = TestGateway::new(|settings| settings.hello_timeout = Duration::from_millis(500)).await;
    let (token, mut session) = place.session(vec![check("disk")]);
    let own = key();
    // A stream that breaks in the middle, one that is silent, one that says something else.
    drop(place.knock(token.expose(), "boot-1", &own).await.unwrap());
    let (mut silent, _) = place.knock(token.expose(), "boot-1", &own).await.unwrap();
    let refused = silent.hear().await.unwrap_err().code();
    assert!(matches!(refused, Code::DeadlineExceeded | Code::Unknown | Code::Unavailable), "{refused:?}");
    let (mut other, _) = place.knock(token.expose(), "boot-1", &own).await.unwrap();
    other.say(agent_message::Kind::CheckResult(passed("disk"))).await;
    assert_eq!(other.hear().await.unwrap_err().code(), Code::InvalidArgument);
    let short = Hello { boot_id: "b".to_owned(), public_key: vec![1; 5], ..Hello::default() };
    let (say, said) = mpsc::channel(1);
    say.send(message(agent_message::Kind::Hello(short))).await.unwrap();
    let request = bearing(token.expose(), ReceiverStream::new(said));
    let refused = AgentGatewayClient::new(place.channel().await).attach(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(session.contest().is_none());
    place.attach_as(token.expose(), "boot-1", &key()).await.unwrap().finish(&mut session).await;
}

#[tokio::test]
async fn a_claim_outlives_its_manager() {
    let place = TestGateway::new(|_| {}).await;
    let own = key();
    let (token, mut session) = place.session(vec![check("disk")]);
    let agent = place.attach_as(token.expose(), "boot-1", &own).await.unwrap();
    let claimant = admit(&mut session).await;
    drop((agent, session));
    // The next manager has it from the history.
    let open = || place.gateway.open(token.hash(), BUILD, vec![check("disk")], Some(claimant.clone()));
    let mut session = open();
    place.attach_as(token.expose(), "boot-1", &own).await.unwrap().finish(&mut session).await;
    drop(session);
    let mut session = open();
    assert_eq!(place.attach(token.expose(), "boot-1").await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(contested(&mut session).await.conflict, Conflict::OtherKey);
}

#[tokio::test]
async fn another_address_contests() {
    let place = TestGateway::new(|_| {}).await;
    let own = key();
    let (token, mut session) = place.session(vec![check("disk")]);
    let agent = place.attach_as(token.expose(), "boot-1", &own).await.unwrap();
    let mut claimant = admit(&mut session).await;
    drop((agent, session));
    // The same key and boot, first seen elsewhere.
    claimant.address = Some("127.0.0.2".parse().unwrap());
    let mut session = place.gateway.open(token.hash(), BUILD, vec![check("disk")], Some(claimant));
    let refused = place.attach_as(token.expose(), "boot-1", &own).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    let contest = contested(&mut session).await;
    assert_eq!(contest.conflict, Conflict::OtherAddress);
    let message = contest.message();
    assert!(message.contains("127.0.0.2") && message.contains("127.0.0.1"), "{message}");
}
