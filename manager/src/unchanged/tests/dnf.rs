//! The same with a real dnf, which is asked in an empty root.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// What is in the image, and in the repository at first, where there is a package more that is only recommended.
const PACKAGES: [Listed<'static>; 3] = [
    ("dnf", "4.14-1", ""),
    ("tool", "2:1.0-1", "Requires: library\nRecommends: extra\n"),
    ("library", "2.0-1", ""),
];
const EXTRA: Listed<'static> = ("extra", "1-1", "");
/// Of a package for any architecture.
const NOARCH: &str = "BuildArch: noarch\n";
const CONF: &str = "/etc/dnf/dnf.conf";
const REPO: &str = "/etc/yum.repos.d/ours.repo";
const KEY: &str = "/etc/pki/rpm-gpg/ours";

fn all(library: Listed<'static>, more: &[Listed<'static>]) -> Vec<Listed<'static>> {
    let [dnf, tool, _] = PACKAGES;
    [&[dnf, tool, library][..], more].concat()
}

/// A repository with all packages, and an image of them.
fn published() -> (Repository, Image) {
    let repository = Repository::new();
    repository.publish_rpms(&all(PACKAGES[2], &[EXTRA]), "ours");
    let image = of(&repository);
    (repository, image)
}

fn of(repository: &Repository) -> Image {
    from(&repository.address, repository.key())
}

fn from(address: &str, key: Vec<u8>) -> Image {
    let mut image = Image::from(address, Vec::new());
    image.files.clear();
    image.put("/etc/os-release", "ID=centos\nVERSION_ID=\"9\"\nPLATFORM_ID=\"platform:el9\"\n");
    image.put(CONF, "[main]\ngpgcheck=1\nbest=True\ninstallonly_limit=3\n");
    let repo = "name=Ours $releasever\nrepo_gpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/ours\nenabled=1\n";
    image.put(REPO, format!("[ours]\nbaseurl={address}/rpm\n{repo}"));
    image.put(KEY, key);
    image
}

async fn ask(image: &Image) -> Result<Answer, Doubt> {
    ask_of(image, &PACKAGES).await
}

async fn ask_of(image: &Image, packages: &[Listed<'_>]) -> Result<Answer, Doubt> {
    let package = |(name, version, more): &Listed<'_>| Package {
        name: (*name).to_owned(),
        version: (*version).to_owned(),
        arch: if more.contains(NOARCH) { "noarch" } else { "x86_64" }.to_owned(),
    };
    let key = Package { name: "gpg-pubkey".to_owned(), version: "1-1".to_owned(), arch: String::new() };
    let packages = packages.iter().map(package).chain([key]).collect();
    let kept = Kept::new(Family::Rpm, image.files.clone(), packages).unwrap();
    let origins = Origins::of_distributions().and(&image.address);
    let (cache, patience) = (&image.cache.path().join("answers"), image.patience);
    let places = &image.cache.path().join("places");
    would_change(Question { kept: &kept, origins: &origins, cache, places, patience }).await
}

#[tokio::test]
async fn nothing_has_changed_and_then_something_has() {
    let (repository, image) = published();
    assert_eq!(ask(&image).await, Ok(nothing()), "what is only recommended is no change");
    assert!(repository.requests().iter().any(|path| path.ends_with("/repomd.xml.asc")));

    let newer = ("library", "2.0-2", "Requires: data\n");
    repository.publish_rpms(&all(newer, &[EXTRA, ("data", "1-1", "")]), "ours");
    let expected =
        [change("data.x86_64", None, Some("1-1")), change("library.x86_64", Some("2.0-1"), Some("2.0-2"))];
    assert_eq!(ask(&image).await, Ok(Answer::Changes(expected.into())), "nothing old is believed");
}

#[tokio::test]
async fn what_no_repository_has_any_more_is_no_unchanged_image() {
    let (repository, image) = published();
    let [dnf, tool, _] = PACKAGES;
    repository.publish_rpms(&[dnf, ("tool", "2:1.0-1", "")], "ours");
    let doubt = ask(&image).await.unwrap_err();
    assert!(doubt.to_string().contains("no package source has library.x86_64"), "{doubt}");
    repository.publish_rpms(&[dnf, tool], "ours");
    assert!(ask_of(&image, &[dnf, tool]).await.is_err(), "what it needs is not there");

    // A mirror that is behind.
    repository.publish_rpms(&all(("library", "1.9-1", ""), &[]), "ours");
    let expected = change("library.x86_64", Some("2.0-1"), Some("1.9-1"));
    assert_eq!(ask(&image).await, Ok(Answer::Changes(vec![expected])));
}

#[tokio::test]
async fn what_would_be_replaced_or_removed_is_a_change() {
    let (repository, image) = published();
    let other = ("library-ng", "3-1", "Obsoletes: library < 3\nProvides: library = 3\n");
    repository.publish_rpms(&all(PACKAGES[2], &[other]), "ours");
    let Ok(Answer::Changes(changes)) = ask(&image).await else { panic!("nothing would change") };
    assert!(changes.contains(&change("library.x86_64", Some("2.0-1"), None)), "{changes:?}");
    assert!(changes.contains(&change("library-ng.x86_64", None, Some("3-1"))), "{changes:?}");

    // Two versions of a package, as of kernels: a build would have only one.
    repository.publish_rpms(&PACKAGES, "ours");
    let [dnf, tool, library] = PACKAGES;
    let two = ask_of(&image, &[dnf, tool, library, ("library", "1.9-1", "")]).await;
    assert_eq!(two, Ok(Answer::Changes(vec![change("library.x86_64", Some("1.9-1"), None)])));
}

/// dnf takes the newest by the name, not by name and architecture.
#[tokio::test]
async fn a_newer_one_of_another_architecture_is_a_change() {
    let repository = Repository::new();
    let [dnf, tool, _] = PACKAGES;
    let old = all(("library", "2.0-1", NOARCH), &[]);
    repository.publish_rpms(&old, "ours");
    std::fs::rename(repository.rpms(), repository.rpms().with_file_name("old")).unwrap();
    repository.publish_rpms(&[dnf, tool], "ours");
    let mut image = of(&repository);
    let more = format!("[old]\nbaseurl={}/old\nrepo_gpgcheck=1\ngpgkey=file://{KEY}\n", repository.address);
    image.put("/etc/yum.repos.d/old.repo", more);
    assert_eq!(ask_of(&image, &old).await, Ok(nothing()));
    repository.publish_rpms(&all(("library", "2.0-2", ""), &[]), "ours");
    let expected =
        [change("library.noarch", Some("2.0-1"), None), change("library.x86_64", None, Some("2.0-2"))];
    assert_eq!(ask_of(&image, &old).await, Ok(Answer::Changes(expected.into())));
}

#[tokio::test]
async fn only_an_index_that_is_signed_as_the_image_says_is_believed() {
    let (repository, mut image) = published();
    let index = repository.rpms().join("repodata/repomd.xml");
    let trusted = async |what: &str, image: &Image| {
        let answer = ask(image).await;
        assert!(matches!(answer, Err(Doubt::NotTrusted(_))), "{what}: {answer:?}");
    };
    repository.sign_index("others");
    trusted("another's key", &image).await;
    image.put(KEY, repository.other_key());
    assert_eq!(ask(&image).await, Ok(nothing()));
    repository.sign_index("ours");
    trusted("the image has another key", &image).await;

    let image = of(&repository);
    let whole = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, whole.replacen("<revision>", "<revision>1", 1)).unwrap();
    trusted("altered", &image).await;
    std::fs::write(&index, whole).unwrap();
    assert_eq!(ask(&image).await, Ok(nothing()));
    std::fs::remove_file(index.with_extension("xml.asc")).unwrap();
    trusted("unsigned", &image).await;
    repository.sign_index("ours");
    let mut files =
        std::fs::read_dir(repository.rpms().join("repodata")).unwrap().map(|entry| entry.unwrap().path());
    let primary = files.find(|path| path.to_str().unwrap().contains("primary.xml")).unwrap();
    std::fs::write(&primary, [std::fs::read(&primary).unwrap(), b"x".to_vec()].concat()).unwrap();
    trusted("a list that is not the signed one", &image).await;
}

#[tokio::test]
async fn a_repository_that_cannot_be_had_is_doubted_in_time() {
    let key = Repository::new().key();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let doubt = ask(&from(&format!("http://{closed}"), key.clone())).await.unwrap_err();
    assert!(matches!(doubt, Doubt::NotReached(_)), "{doubt}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut image = from(&format!("http://{}", silent.local_addr().unwrap()), key);
    image.patience = Duration::from_secs(2);
    let began = Instant::now();
    assert_eq!(ask(&image).await, Err(Doubt::NotInTime(image.patience)));
    assert!(began.elapsed() < Duration::from_secs(10));

    // All of them have to answer, whatever the image says.
    let (repository, mut image) = published();
    let gone = format!("[gone]\nbaseurl={}/gone\nskip_if_unavailable=1\n", repository.address);
    image.put("/etc/yum.repos.d/gone.repo", format!("{gone}repo_gpgcheck=1\ngpgkey=file://{KEY}\n"));
    assert!(matches!(ask(&image).await, Err(Doubt::NotReached(_))));
}

/// Each of these would run something, believe something that nobody answers for, or ask somebody that only the image
/// knows. Each is doubted before anything runs or is asked.
#[tokio::test]
async fn hostile_images_run_nothing_and_ask_nobody() {
    let (repository, _) = published();
    let marks = tempfile::tempdir().unwrap();
    let mark = marks.path().join("ran");
    let ran = mark.display();
    let address = &repository.address;
    let signed = "repo_gpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/ours\n";
    let files = [
        (CONF, format!("[main]\npluginpath={ran}\n")),
        (CONF, format!("[main]\npluginconfpath={ran}\n")),
        (CONF, format!("[main]\nreposdir={ran}\n")),
        (CONF, format!("[main]\nvarsdir={ran}\n")),
        (CONF, format!("[main]\nproxy={address}\n")),
        (CONF, "[main]\nsslverify=0\n".to_owned()),
        (CONF, "[main]\nexclude=library\n".to_owned()),
        (CONF, format!("[main]\n%include {ran}\n")),
        (REPO, format!("[ours]\nbaseurl={address}/rpm\n")),
        (REPO, format!("[ours]\nbaseurl={address}/$(touch {ran})\n{signed}")),
        (REPO, format!("[ours]\nbaseurl={address}/`touch {ran}`\n{signed}")),
        (REPO, format!("[ours]\nmirrorlist={address}/list\n{signed}")),
        (REPO, format!("[ours]\nbaseurl={address}/rpm\nincludepkgs=dnf\n{signed}")),
        (REPO, format!("[ours]\nbaseurl={address}/rpm\nrepo_gpgcheck=1\ngpgkey={address}/key\n")),
        (REPO, format!("[ours]\nbaseurl={address}/rpm\nrepo_gpgcheck=1\ngpgkey=file:///etc/passwd\n")),
        ("/etc/yum.repos.d/x.repo", "[x]\nbaseurl=file:///etc\n".to_owned()),
        ("/etc/yum.repos.d/x.repo", "[x]\nbaseurl=https://169.254.169.254/latest\n".to_owned()),
        ("/etc/yum.repos.d/x.repo", "[x]\nbaseurl=https://127.0.0.1:1/\n".to_owned()),
        ("/etc/yum.repos.d/x.repo", format!("[../x]\nbaseurl={address}/rpm\n{signed}")),
        ("/etc/dnf/vars/stream", format!("$(touch {ran})\n")),
        ("/etc/dnf/modules.d/x.module", "[../../x]\nname=x\n".to_owned()),
    ];
    for (path, content) in files {
        let mut image = of(&repository);
        image.put(path, content.clone());
        let answer = ask(&image).await;
        let doubted = matches!(answer, Err(Doubt::NotAsked(_) | Doubt::NotTrusted(_)));
        assert!(doubted, "{path}: {content}: {answer:?}");
        assert_eq!(repository.requests(), [""; 0], "{content}");
    }
    assert!(!mark.exists());
    for bad in [("-x", "1-1", ""), ("x", "1-1 --setopt=x", ""), ("dnf-plugin-x", "1-1", "")] {
        let all = [&PACKAGES[..], &[bad]].concat();
        assert!(matches!(ask_of(&of(&repository), &all).await, Err(Doubt::NotAsked(_))), "{bad:?}");
    }
    assert!(matches!(ask_of(&of(&repository), &PACKAGES[1..]).await, Err(Doubt::NotAsked(_))), "no dnf");
    let mut image = of(&repository);
    image.put(KEY, [7; 5000]);
    assert!(ask(&image).await.is_err(), "a key that is none");
}

/// gpg leaves agents behind, in sessions of their own; they end with the directory that they are for. dnf leaves
/// directories for the locks of whoever is not root.
#[tokio::test]
async fn nothing_goes_on_or_is_left_afterwards() {
    let (_repository, image) = published();
    let locks = || Command::new("sh").args(["-c", "ls -d /var/tmp/dnf-*/locks/*"]).output().unwrap().stdout;
    let before = locks();
    assert_eq!(ask(&image).await, Ok(nothing()));
    assert_eq!(locks(), before, "directories are left");
    let agents = || {
        let found = Command::new("pgrep").args(["-f", "^gpg-agent.*image-manager-dnf-"]).output().unwrap();
        String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // Those of other tests, too; but not those that begin later.
    let there = agents();
    let deadline = Instant::now() + Duration::from_secs(30);
    while agents().iter().any(|one| there.contains(one)) {
        assert!(Instant::now() < deadline, "{there:?} go on");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What the script asks before dnf does: nobody who has proved who he is may lead to one who has not.
#[test]
fn a_server_with_https_may_not_lead_to_one_without() {
    let repository = Repository::saying(|path| match path {
        "/away" => {
            Some("HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".into())
        }
        "/list" => {
            let list = "# of mirrors\nhttp://a.example/x\nhttps://b.example/$y\nhttps://c.example/z\n";
            Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{list}", list.len()))
        }
        _ => None,
    });
    let calls = "print(ask.listed(sys.argv[2] + '/list', False))\n\
                 print(ask.listed(sys.argv[2] + '/list', True))\n\
                 for call in (lambda: ask.fetch(sys.argv[2] + '/away'), lambda: ask.addresses([sys.argv[2] + '/no'], False)):\n\
                 \x20   try: call()\n\
                 \x20   except ask.Doubt as doubt: print(doubt.kind)\n";
    let expected =
        "['https://c.example/z']\n['http://a.example/x', 'https://c.example/z']\ntrusted\nreached\n";
    assert_eq!(python(calls, &repository.address, Path::new("/nonexistent")), expected);
}

/// dnf asks for the index anew, and may be led elsewhere than whoever proved who he is.
#[test]
fn an_index_that_is_another_than_the_proved_one_is_not_believed() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let repository = Repository::saying(|path| {
        let is_first = path.ends_with("/repomd.xml") && ASKED.fetch_add(1, Ordering::Relaxed) == 0;
        is_first.then(|| "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<x/>".to_owned())
    });
    repository.publish_rpms(&PACKAGES, "ours");
    let calls = "import dnf, hawkey\n\
                 ours = {'id': 'ours', 'priority': 99, 'metalink': None, 'mirrorlist': None, 'signed': False, 'keys': []}\n\
                 ours['baseurls'] = [sys.argv[2] + '/rpm']\n\
                 asked = {'root': sys.argv[3], 'arch': 'x86_64', 'platform': 'platform:el9', 'repositories': [ours]}\n\
                 asked['packages'] = [['tool', '2:1.0-1', 'x86_64']]\n\
                 try: print(len(ask.ask(dnf, hawkey, asked)['result']['packages']))\n\
                 except ask.Doubt as doubt: print(doubt.kind)\n";
    for expected in ["trusted\n", "2\n"] {
        let root = tempfile::tempdir().unwrap();
        for directory in ["root", "log"] {
            std::fs::create_dir(root.path().join(directory)).unwrap();
        }
        assert_eq!(python(calls, &repository.address, root.path()), expected);
    }
}

/// What Python prints that has imported the script; it gets an address and a directory.
fn python(calls: &str, address: &str, directory: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/unchanged/dnf");
    let calls = format!("import sys; sys.path.insert(0, sys.argv[1]); import ask\n{calls}");
    let output = Command::new("/usr/bin/python3")
        .args(["-I", "-B", "-c", calls.as_str()])
        .args([script.as_path(), Path::new(address), directory])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}
