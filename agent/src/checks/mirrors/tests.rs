use super::*;
use crate::guest::made_of as guest;

fn of(files: &[(&str, &str)]) -> Mirrors {
    let (_root, guest) = guest(files);
    Mirrors::of(&guest)
}

const LIST: &str = "/etc/apt/sources.list";
const SOURCES: &str = "/etc/apt/sources.list.d/debian.sources";
const PROXY: &str = "/etc/apt/apt.conf.d/01proxy";
const REPO: &str = "/etc/yum.repos.d/a.repo";

#[test]
fn one_line_sources_are_read() {
    let text = "# deb http://no.example/debian x main\n\
        deb http://mirror.example/debian/ trixie main # the mirror\n\
        deb [arch=amd64 signed-by=/x.gpg] https://one.example/debian trixie main\n\
        deb-src http://mirror.example/debian trixie main\n\
        deb cdrom:[Debian]/ trixie main\ndeb file:/srv trixie main\ndeb\nrpm http://x y\n";
    assert_eq!(
        of(&[(LIST, text)]).addresses(),
        ["http://mirror.example/debian", "https://one.example/debian"]
    );
}

#[test]
fn deb822_sources_are_read() {
    let text = "Types: deb\nURIs: http://a.example/debian\n https://b.example/debian/\n# comment\n\
        Suites: trixie\n\nTypes: deb\nEnabled: no\nURIs: http://off.example/\n\n\
        uris:\thttp://c.example\nEnabled: yes\n";
    assert_eq!(
        of(&[(SOURCES, text)]).addresses(),
        ["http://a.example/debian", "https://b.example/debian", "http://c.example"]
    );
}

#[test]
fn lists_of_mirrors_are_followed() {
    let list = "# ours\n\nhttp://a.example/debian/\tpriority:1 type:index\nhttps://b.example/debian\nfile:/srv/debian\n";
    for source in [
        "mirror+file:/etc/apt/mirrors/x.list",
        "mirror+file:///etc/apt/mirrors/x.list",
        "mirror+copy:/etc/apt/mirrors/x.list",
    ] {
        let text = format!("Types: deb\nURIs: {source}\nSuites: x\n");
        let mirrors = of(&[(SOURCES, &text), ("/etc/apt/mirrors/x.list", list)]);
        let both = ["http://a.example/debian".to_owned(), "https://b.example/debian".to_owned()];
        assert_eq!(mirrors.all, [Mirror { addresses: both.to_vec(), via: Via::Direct }], "{source}");
        assert_eq!(mirrors.hosts(), [["a.example", "b.example"]]);
    }
    for (source, asked) in [
        ("mirror://a.example/m.lst", "http://a.example/m.lst"),
        ("mirror+http://a.example/m.lst", "http://a.example/m.lst"),
        ("mirror+https://a.example/m.lst", "https://a.example/m.lst"),
    ] {
        assert_eq!(of(&[(LIST, &format!("deb {source} x main\n"))]).addresses(), [asked]);
    }
    let missing = of(&[(LIST, "deb mirror+file:/etc/none x main\n")]);
    assert!(missing.all.is_empty());
    let nothing = missing.nothing("checks.dns.names");
    assert!(
        nothing.contains("/etc/none") && nothing.ends_with("name something in checks.dns.names"),
        "{nothing}"
    );
}

#[test]
fn proxies_of_apt_are_found() {
    let sources = "deb http://a.example/x y z\ndeb https://b.example/x y z\ndeb http://c.example/x y z\n";
    let proxy = |host: &str, port| Via::Proxy { host: host.to_owned(), port };
    let ways = |files: &[(&str, &str)]| -> Vec<Via> {
        let all: Vec<_> = [(LIST, sources)].iter().chain(files).copied().collect();
        of(&all).all.into_iter().map(|mirror| mirror.via).collect()
    };
    assert_eq!(ways(&[]), [Via::Direct, Via::Direct, Via::Direct]);
    // http's is https's too, when that has none.
    let all = proxy("cache", 3142);
    assert_eq!(
        ways(&[(PROXY, "Acquire::http::Proxy \"http://cache:3142/\";\n")]),
        [all.clone(), all.clone(), all.clone()]
    );
    let nested = "// ours\nAcquire {\n  HTTP { Proxy \"http://cache:3142\"; Proxy { c.example \"DIRECT\"; }; };\n\
        /* https */ https::proxy \"http://other:8080\"; # the end\n};\n";
    assert_eq!(ways(&[(PROXY, nested)]), [all.clone(), proxy("other", 8080), Via::Direct]);
    let by_host =
        "Acquire::http::Proxy::a.example \"http://cache:3142\";\nAcquire::https::Proxy \"DIRECT\";\n";
    assert_eq!(ways(&[(PROXY, by_host)]), [all.clone(), Via::Direct, Via::Direct]);
    // Later files count, apt.conf is the last, and what apt does not read is not read.
    let first = (PROXY, "Acquire::http::Proxy \"http://cache:3142\";\n");
    assert_eq!(ways(&[first, ("/etc/apt/apt.conf", "#clear Acquire::http::Proxy;\n")])[0], Via::Direct);
    assert_eq!(ways(&[first, ("/etc/apt/apt.conf.d/02.conf", "Acquire::http::Proxy \"\";")])[0], Via::Direct);
    assert_eq!(ways(&[first, ("/etc/apt/apt.conf.d/02.dpkg-old", "Acquire::http::Proxy \"\";")])[0], all);
    for strange in [
        "Acquire::http::Proxy \"socks5h://x:1\";",
        "Acquire::http::Proxy \"http://me:secret@x:1\";",
        "Acquire::http::Proxy-Auto-Detect \"/usr/bin/auto\";",
    ] {
        let found = ways(&[(PROXY, strange)]);
        assert!(matches!(&found[0], Via::Unknown(why) if !why.contains("secret")), "{found:?}");
    }
}

#[test]
fn a_proxy_resolves_the_mirrors_names() {
    let mirrors = of(&[
        (LIST, "deb http://a.example/x y z\ndeb http://c.example/x y z\n"),
        (
            PROXY,
            "Acquire::http::Proxy \"http://cache:3142\"; Acquire::http::Proxy::c.example \"http://10.0.0.1:1\";",
        ),
    ]);
    assert_eq!(mirrors.hosts(), [["cache"]]);
}

#[test]
fn repositories_of_dnf_are_read() {
    let text = "[base]\nname=Base\nbaseurl=https://a.example/os https://b.example/os\n  https://c.example/os\nenabled=1\n\
        [off]\nbaseurl=https://off.example/\nenabled=0\n[off2]\nmetalink=https://off.example/\nenabled = False\n\
        [meta]\nmetalink=https://m.example/metalink?repo=x-$releasever&arch=$basearch\n#baseurl=http://no.example/\n\
        [list]\nmirrorlist=https://l.example/$stream/${releasever_major}/${more:-os}\n\
        [unset]\nbaseurl=https://x.example/$nobody/os\n[last]\nbaseurl = http://d.example, http://e.example\n";
    let mirrors = of(&[
        (REPO, text),
        ("/etc/os-release", "VERSION_ID=\"9.4\"\nPLATFORM_ID=\"platform:el9\"\n"),
        ("/etc/dnf/vars/stream", "9-stream\n"),
        ("/etc/yum/vars/stream", "old\n"),
    ]);
    let (_, base) = ("", std::env::consts::ARCH);
    let expected = [
        vec![
            "https://a.example/os".to_owned(),
            "https://b.example/os".to_owned(),
            "https://c.example/os".to_owned(),
        ],
        vec![format!("https://m.example/metalink?repo=x-9&arch={base}")],
        vec!["https://l.example/9-stream/9/os".to_owned()],
        vec!["http://d.example".to_owned(), "http://e.example".to_owned()],
    ];
    let found: Vec<_> = mirrors.all.iter().map(|mirror| mirror.addresses.clone()).collect();
    assert_eq!(found, expected);
    assert_eq!(mirrors.left_out, ["the repository unset uses the variable $nobody, which is not set"]);
}

#[test]
fn every_folder_of_repositories_and_of_variables_is_read() {
    let repositories = [
        ("/etc/yum.repos.d/a.repo", "http://a.example/$mine"),
        ("/etc/yum/repos.d/b.repo", "http://b.example/$mine"),
        ("/etc/distro.repos.d/c.repo", "http://c.example/$mine"),
        ("/usr/share/dnf5/repos.d/d.repo", "http://d.example/$mine"),
        ("/etc/zypp/repos.d/e.repo", "http://e.example/$mine"),
    ];
    let texts = repositories.map(|(path, address)| (path, format!("[x]\nbaseurl={address}\n")));
    let mut files: Vec<(&str, &str)> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
    files.extend([("/etc/yum/vars/mine", "yum\n"), ("/etc/zypp/vars.d/mine", "zypp\n")]);
    files.push(("/etc/yum.conf", "[main]\nproxy=http://cache:3128\n"));
    let mirrors = of(&files);
    let expected = ["a", "b", "c", "d", "e"]
        .map(|host| format!("http://{host}.example/{}", if host == "e" { "zypp" } else { "yum" }));
    assert_eq!(mirrors.addresses(), expected);
    let proxy = Via::Proxy { host: "cache".to_owned(), port: 3128 };
    assert_eq!(mirrors.all[0].via, proxy);
}

/// The files as the distributions' own packages have them, cut short.
#[test]
fn distributions_of_rpm_go_to_the_mirrors_that_they_come_with() {
    let arch = std::env::consts::ARCH;
    let rocky = of(&[
        ("/etc/os-release", "ID=\"rocky\"\nVERSION_ID=\"9.6\"\nPLATFORM_ID=\"platform:el9\"\n"),
        (
            "/etc/yum.repos.d/rocky.repo",
            "# rocky.repo\n[baseos]\nname=Rocky Linux $releasever - BaseOS\n\
             mirrorlist=https://mirrors.example/mirrorlist?arch=$basearch&repo=BaseOS-$releasever$rltype\n\
             #baseurl=http://dl.example/$contentdir/$releasever/BaseOS/$basearch/os/\n\
             gpgcheck=1\nenabled=1\ncountme=1\nmetadata_expire=6h\n\
             gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-Rocky-9\n\
             [baseos-debuginfo]\nmirrorlist=https://mirrors.example/debug?arch=$basearch\nenabled=0\n",
        ),
        ("/etc/dnf/vars/rltype", "\n"),
        ("/etc/dnf/vars/contentdir", "pub/rocky\n"),
        ("/etc/dnf/dnf.conf", "[main]\ngpgcheck=1\ninstallonly_limit=3\nbest=True\n"),
    ]);
    assert_eq!(rocky.addresses(), [format!("https://mirrors.example/mirrorlist?arch={arch}&repo=BaseOS-9")]);
    assert_eq!((rocky.hosts(), rocky.left_out), (vec![vec!["mirrors.example".to_owned()]], vec![]));

    let stream = of(&[
        ("/etc/os-release", "ID=\"centos\"\nVERSION_ID=\"10\"\nPLATFORM_ID=\"platform:el10\"\n"),
        (
            "/etc/yum.repos.d/centos.repo",
            "[baseos]\nname=CentOS Stream $releasever - BaseOS\n\
             metalink=https://mirrors.example/metalink?repo=centos-baseos-$stream&arch=$basearch&protocol=https,http\n\
             gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial-SHA256\nenabled=1\n",
        ),
        ("/etc/dnf/vars/stream", "10-stream\n"),
    ]);
    assert_eq!(
        stream.addresses(),
        [format!(
            "https://mirrors.example/metalink?repo=centos-baseos-10-stream&arch={arch}&protocol=https,http"
        )]
    );

    // dnf 5 has repositories and variables in folders of its own, too.
    let fedora = of(&[
        ("/usr/lib/os-release", "ID=fedora\nVERSION_ID=43\nPLATFORM_ID=\"platform:f43\"\n"),
        (
            "/etc/yum.repos.d/fedora.repo",
            "[fedora]\nname=Fedora $releasever - $basearch\n#baseurl=http://download.example/pub/\n\
             metalink=https://mirrors.example/metalink?repo=fedora-$releasever&arch=$basearch\nenabled=1\n\
             [fedora-source]\nmetalink=https://mirrors.example/source\nenabled=0\n",
        ),
        ("/usr/share/dnf5/repos.d/vendor.repo", "[vendor]\nbaseurl=https://vendor.example/$flavor\n"),
        ("/usr/share/dnf5/vars.d/flavor", "cloud\n"),
    ]);
    assert_eq!(
        fedora.addresses(),
        [
            format!("https://mirrors.example/metalink?repo=fedora-43&arch={arch}"),
            "https://vendor.example/cloud".to_owned()
        ]
    );
}

/// The same of openSUSE.
#[test]
fn leap_goes_to_the_mirror_that_it_comes_with() {
    let leap = of(&[
        ("/etc/os-release", "ID=\"opensuse-leap\"\nVERSION_ID=\"15.6\"\nID_LIKE=\"suse opensuse\"\n"),
        (
            "/etc/zypp/repos.d/openSUSE:repo-oss.repo",
            "[openSUSE:repo-oss]\nname=repo-oss (15.6)\nenabled=1\nautorefresh=1\n\
             baseurl=http://cdn.example/distribution/leap/$releasever/repo/oss\nservice=openSUSE\n\
             keeppackages=0\ngpgkey=http://cdn.example/distribution/leap/$releasever/repo/oss/repodata/key\n",
        ),
        (
            "/etc/zypp/repos.d/openSUSE:repo-sle-debug-update.repo",
            "[openSUSE:repo-sle-debug-update]\nenabled=0\nbaseurl=http://debug.example/$releasever\n",
        ),
    ]);
    assert_eq!(leap.addresses(), ["http://cdn.example/distribution/leap/15.6/repo/oss"]);
}

#[test]
fn proxies_of_dnf_are_found() {
    let text = "[a]\nbaseurl=https://a.example\n[b]\nbaseurl=https://b.example\nproxy=_none_\n";
    let mirrors = of(&[(REPO, text), ("/etc/dnf/dnf.conf", "[main]\nproxy=http://cache:3128\n")]);
    let ways: Vec<_> = mirrors.all.into_iter().map(|mirror| mirror.via).collect();
    assert_eq!(ways, [Via::Proxy { host: "cache".to_owned(), port: 3128 }, Via::Direct]);
    let secret = "[main]\nproxy=http://cache:3128\nproxy_username=me\nproxy_password=secret\n";
    let mirrors = of(&[(REPO, text), ("/etc/dnf/dnf.conf", secret)]);
    assert!(
        matches!(mirrors.all.first().map(|mirror| &mirror.via), Some(Via::Unknown(_))),
        "it needs a password"
    );
}

#[test]
fn repositories_of_zypper_are_read() {
    let text = "[oss]\nenabled=1\nbaseurl=https://a.example/leap/$releasever/repo\n\
        [list]\nmirrorlist=file:/etc/list\n[dvd]\nbaseurl=dvd:///\n";
    let mirrors = of(&[
        ("/etc/zypp/repos.d/oss.repo", text),
        ("/etc/os-release", "VERSION_ID=\"15.6\"\n"),
        ("/etc/list", "# x\nhttp://b.example/x\n"),
    ]);
    assert_eq!(mirrors.addresses(), ["https://a.example/leap/15.6/repo", "http://b.example/x"]);
}

#[test]
fn the_guest_s_files_are_found() {
    assert_eq!(of(&[]), Mirrors::default());
    let mirrors = of(&[
        (LIST, "deb http://a.example:81/x y z\n"),
        (SOURCES, "Types: deb\nURIs: https://b.example/debian\n"),
        ("/etc/apt/sources.list.d/x.list", "deb http://a.example/other y z\ndeb http://10.0.0.1/x y z\n"),
        ("/etc/apt/sources.list.d/x.list.save", "deb http://saved.example/ y z\n"),
    ]);
    assert_eq!(mirrors.addresses().len(), 4);
    assert_eq!(mirrors.hosts(), [["a.example"], ["b.example"]]);
}

#[tokio::test]
async fn mirrors_are_read_after_cloud_init_has_written_them() {
    let (_root, guest) = guest(&[(LIST, "deb http://old.example/x y z\n"), ("/run/cloud-init/enabled", "")]);
    let rewrite = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        fs::write(guest.path(LIST), "deb http://new.example/x y z\n").unwrap();
        fs::write(guest.path("/run/cloud-init/result.json"), "{}").unwrap();
    };
    let (mirrors, ()) =
        tokio::join!(Mirrors::settled(&guest, Instant::now() + Duration::from_mins(1)), rewrite);
    assert_eq!(mirrors.addresses(), ["http://new.example/x"]);
    // One that never ends leaves time to ask.
    fs::remove_file(guest.path("/run/cloud-init/result.json")).unwrap();
    let started = Instant::now();
    Mirrors::settled(&guest, started + Duration::from_secs(4)).await;
    assert!(started.elapsed() <= Duration::from_millis(2500), "{:?}", started.elapsed());
}
