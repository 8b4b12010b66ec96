//! Clouds that answer, refuse and hang.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::*;
use crate::cloud::{
    CloudKind, Console, HandedOver, Handing, Image, Ledger, NamedImage, NewImage, NewServer, ProgressSink,
    Proof, Pruned, Publication, Published, Removal, Resource, Server, ServerStatus, Shutdown,
};
use crate::schedules::{Publish, ServerSpec};

/// How long a cloud takes that hangs, and what is waited for beside it.
const HANGS: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_millis(50);

/// What a cloud does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Answers,
    Refuses(Trouble),
    Hangs,
}

/// A cloud that is only asked whether it answers.
struct Asked {
    name: &'static str,
    manner: Manner,
    /// Whether it was asked to the end.
    done: Arc<AtomicBool>,
}

impl Asked {
    async fn answer(&self) -> Result<(), CloudError> {
        if self.manner == Manner::Hangs {
            tokio::time::sleep(HANGS).await;
        }
        self.done.store(true, Ordering::Relaxed);
        match self.manner {
            Manner::Refuses(trouble) => Err(CloudError::new(trouble, format!("{} refuses", self.name))),
            Manner::Answers | Manner::Hangs => Ok(()),
        }
    }
}

fn not_asked<T>() -> Result<T, CloudError> {
    Err(CloudError::new(Trouble::Fault, "nobody asks this"))
}

#[async_trait]
impl Cloud for Asked {
    fn name(&self) -> &str {
        self.name
    }

    fn kind(&self) -> &'static CloudKind {
        CloudKind::of(self.name)
    }

    async fn preflight(&self, _: &ServerSpec) -> Result<(), CloudError> {
        self.answer().await
    }

    async fn answers(&self) -> Result<(), CloudError> {
        self.answer().await
    }

    async fn agent_endpoint(&self, _: SocketAddr) -> Result<String, CloudError> {
        not_asked()
    }

    async fn upload(&self, _: &NewImage, _: &dyn Ledger, _: ProgressSink<'_>) -> Result<Image, CloudError> {
        not_asked()
    }

    async fn boot(&self, _: &NewServer, _: &dyn Ledger) -> Result<Server, CloudError> {
        not_asked()
    }

    async fn server_status(&self, _: &Server) -> Result<ServerStatus, CloudError> {
        not_asked()
    }

    async fn save_console(&self, _: &Server) -> Result<Console, CloudError> {
        not_asked()
    }

    async fn allow_reboot(&self, _: &Server) -> Result<(), CloudError> {
        not_asked()
    }

    async fn stop(&self, _: &Server) -> Result<Shutdown, CloudError> {
        not_asked()
    }

    async fn save_disk(&self, _: &Server, _: &Path) -> Result<(), CloudError> {
        not_asked()
    }

    async fn publish(&self, _: &Image, _: &Publication) -> Result<Published, CloudError> {
        not_asked()
    }

    async fn prune(&self, _: &Publication) -> Result<Pruned, CloudError> {
        not_asked()
    }

    async fn named(&self, _: &str) -> Result<Vec<NamedImage>, CloudError> {
        not_asked()
    }

    async fn check_hand_over(&self, _: &Image, _: &str, _: &str) -> Result<Handing, CloudError> {
        not_asked()
    }

    async fn hand_over(&self, _: &Image, _: &str, _: &str) -> Result<HandedOver, CloudError> {
        not_asked()
    }

    async fn revoke(&self, _: &Image, _: &str, _: &str) -> Result<(), CloudError> {
        not_asked()
    }

    async fn remove(&self, _: &Resource) -> Result<Removal, CloudError> {
        not_asked()
    }

    async fn inventory(&self) -> Result<Vec<Resource>, CloudError> {
        not_asked()
    }

    async fn diagnose(&self, _: SocketAddr) -> Vec<Proof> {
        Vec::new()
    }

    async fn diagnose_server(&self, _: &ServerSpec, _: Option<&Publish>) -> Vec<Proof> {
        Vec::new()
    }
}

/// Clouds of these names and manners, and whether each was asked to the end.
fn clouds(manners: &[(&'static str, Manner)]) -> (Clouds, Vec<Arc<AtomicBool>>) {
    let done: Vec<Arc<AtomicBool>> = manners.iter().map(|_| Arc::default()).collect();
    let each = manners.iter().zip(&done).map(|((name, manner), done)| {
        let cloud = Asked { name, manner: *manner, done: Arc::clone(done) };
        ((*name).to_owned(), Arc::new(cloud) as Arc<dyn Cloud>)
    });
    (Clouds::new(each.collect()), done)
}

/// Targets on these clouds.
fn targets(clouds: &[&str]) -> Vec<Target> {
    let each = clouds.iter().map(|cloud| {
        format!("[[schedule.web.targets]]\nname = \"{cloud}\"\ncloud = \"{cloud}\"\nserver.flavor = \"m\"\n")
    });
    let text = format!("[schedule.web]\nimage.elements = [\"debian\"]\n{}", each.collect::<String>());
    let schedules = crate::schedules::parse(Path::new("schedules.toml"), &text).unwrap();
    schedules.schedules[0].targets.clone()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_cloud_is_silent_from_the_first_request_without_an_answer_until_the_next_with_one() {
    let clouds = Clouds::new(BTreeMap::new());
    assert!(clouds.found().is_empty(), "nobody was asked");
    clouds.heard("lab", Some(&CloudError::new(Trouble::Timeout, "late")));
    let first = clouds.found()["lab"].clone().unwrap();
    clouds.heard("lab", Some(&CloudError::new(Trouble::Unavailable, "HTTP 503")));
    let second = clouds.found()["lab"].clone().unwrap();
    assert_eq!((second.since_ms, &*second.why), (first.since_ms, "HTTP 503"));
    clouds.heard("lab", Some(&CloudError::new(Trouble::NoRoom, "quota")));
    assert_eq!(clouds.found()["lab"], None, "what it refuses it has answered");
    clouds.heard("lab", None);
    assert_eq!(clouds.found()["lab"], None);
}

#[tokio::test]
async fn each_cloud_is_asked_and_one_that_hangs_keeps_no_other_waiting() {
    let (clouds, _) = clouds(&[
        ("good", Manner::Answers),
        ("hangs", Manner::Hangs),
        ("refuses", Manner::Refuses(Trouble::Configuration)),
        ("down", Manner::Refuses(Trouble::Unavailable)),
    ]);
    clouds.heard("good", Some(&CloudError::new(Trouble::Timeout, "it was down a week ago")));
    clouds.ask(names(&["down", "good", "hangs", "refuses", "elsewhere"]), PATIENCE).await;
    let silent: Vec<String> =
        clouds.found().into_iter().filter_map(|(name, silence)| silence.map(|_| name)).collect();
    assert_eq!(silent, ["down", "hangs"]);
    assert_eq!(clouds.found()["good"], None, "it answers again");
    clouds.forget_all_but(&names(&["good", "hangs"]));
    assert_eq!(clouds.found().into_keys().collect::<Vec<_>>(), ["good", "hangs"]);
}

#[tokio::test]
async fn the_first_cloud_that_can_take_a_build_is_enough() {
    let (clouds, done) = clouds(&[("hangs", Manner::Hangs), ("good", Manner::Answers)]);
    clouds.preflight(&targets(&["hangs", "good"]), HANGS * 50).await.unwrap();
    assert!(!done[0].load(Ordering::Relaxed), "it was not waited for");
    let noted = async {
        while !clouds.found().contains_key("hangs") {
            tokio::time::sleep(PATIENCE).await;
        }
    };
    tokio::time::timeout(HANGS * 50, noted).await.unwrap();
    assert!(done[0].load(Ordering::Relaxed), "it is asked on, so that its answer is noted");
}

#[tokio::test]
async fn where_no_cloud_can_take_a_build_the_first_that_lacks_room_or_else_the_first_says_why() {
    let (clouds, _) = clouds(&[("hangs", Manner::Hangs), ("full", Manner::Refuses(Trouble::NoRoom))]);
    let (cloud, error) = clouds.preflight(&targets(&["hangs", "elsewhere"]), PATIENCE).await.unwrap_err();
    assert_eq!((cloud.as_str(), error.trouble), ("hangs", Trouble::Timeout));
    let (cloud, error) = clouds.preflight(&targets(&["hangs", "full"]), PATIENCE).await.unwrap_err();
    assert_eq!((cloud.as_str(), error.trouble), ("full", Trouble::NoRoom));
    let (cloud, error) = clouds.preflight(&targets(&["full", "elsewhere"]), PATIENCE).await.unwrap_err();
    assert_eq!((cloud.as_str(), error.trouble), ("full", Trouble::NoRoom));
    let found = clouds.found();
    assert!(found["hangs"].is_some() && found["full"].is_none() && !found.contains_key("elsewhere"));
}
