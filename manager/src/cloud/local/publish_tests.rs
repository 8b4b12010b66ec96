use super::super::handing;
use super::*;

struct Bench {
    _folder: tempfile::TempDir,
    store: Store,
}

const FIRST: i64 = 1_800_000_000;

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        Self { _folder: folder, store }
    }

    /// An uploaded image whose content is its name.
    fn image(&self, name: &str) -> Image {
        self.image_as(name, Format::Qcow2)
    }

    fn image_as(&self, name: &str, format: Format) -> Image {
        fs::write(self.store.file(name, format), name).unwrap();
        let image = Image {
            id: name.into(),
            name: name.into(),
            sha512: format!("sha of {name}"),
            size_bytes: name.len() as u64,
            virtual_size_bytes: 1,
        };
        let record = Record {
            name: name.into(),
            build_id: name.into(),
            owner: "me".into(),
            sha512: image.sha512.clone(),
            size_bytes: image.size_bytes,
            virtual_size_bytes: 1,
            architecture: "x86_64".into(),
            properties: [].into(),
            published_at: None,
            revoked: None,
        };
        self.store.describe(&record).unwrap();
        image
    }

    fn publish(&self, image: &Image, second: i64) -> Published {
        publish(&self.store, image, &publication(2), at(second)).unwrap()
    }

    fn public(&self) -> PublishedName<'_> {
        PublishedName::new(&self.store, "debian", "none").unwrap()
    }

    fn current(&self) -> String {
        fs::read_to_string(self.public().current()).unwrap()
    }

    /// What the published images contain, by file name; of records which image they are of.
    fn listing(&self) -> Vec<(String, String)> {
        let mut all: Vec<_> = fs::read_dir(self.store.published())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let content = images::read_record(&entry.path())
                    .map_or_else(|| fs::read_to_string(entry.path()).unwrap(), |record| record.name);
                (entry.file_name().into_string().unwrap(), content)
            })
            .collect();
        all.sort();
        all
    }
}

fn publication(keep: u32) -> Publication {
    Publication { name: "debian".into(), keep, keep_for: None, visibility: "private".into(), last: None }
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(FIRST + second, 0).unwrap()
}

fn pair(name: &str, content: &str) -> [(String, String); 2] {
    [(format!("{name}.json"), content.into()), (format!("{name}.qcow2"), content.into())]
}

fn dated(second: i64) -> String {
    dated_name("debian", at(second))
}

#[test]
fn the_new_image_takes_the_name_and_older_ones_stay_as_many_as_are_kept() {
    let bench = Bench::new();
    for (second, name) in [(0, "a"), (10, "b"), (20, "c")] {
        let published = bench.publish(&bench.image(name), second);
        assert!(published.removed.is_empty() && published.held.is_empty());
        assert_eq!(bench.current(), name);
    }
    let published = bench.publish(&bench.image("d"), 30);
    assert_eq!(published.removed, [dated(0)]);
    assert_eq!(published.location, bench.public().current().display().to_string());
    let mut expected = [pair(&dated(10), "b"), pair(&dated(20), "c"), pair("debian", "d")].concat();
    expected.sort();
    assert_eq!(bench.listing(), expected);
    let record = images::read_record(&bench.store.published().join("debian.json")).unwrap();
    assert_eq!(record.published_at, Some(at(30)));
}

#[test]
fn an_older_image_stays_for_as_long_as_either_key_keeps_it() {
    let bench = Bench::new();
    let publish = |name: &str, second, keep, seconds| {
        let keep_for = Some(std::time::Duration::from_secs(seconds));
        let publication = Publication { keep_for, ..publication(keep) };
        publish(&bench.store, &bench.image(name), &publication, at(second)).unwrap().removed
    };
    for (second, name) in [(0, "a"), (10, "b"), (20, "c")] {
        assert_eq!(publish(name, second, 0, 20), [""; 0], "none is too old");
    }
    assert_eq!(publish("d", 30, 3, 5), [""; 0], "three stay, whatever their age");
    assert_eq!(publish("e", 40, 2, 30), [dated(0)], "too old, and more than two");
    assert_eq!(publish("f", 50, 0, 30), [dated(10)]);
    assert_eq!(publish("g", 10, 0, 1), [""; 0], "by a clock that was set back they are of no age");
    assert_eq!(publish("h", 100, 1, 1), [20, 30, 40, 50].map(dated));
}

#[test]
fn a_revoked_image_takes_no_good_ones_place() {
    let bench = Bench::new();
    let publish =
        |image: &Image, second| publish(&bench.store, image, &publication(1), at(second)).unwrap().removed;
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| bench.image(name));
    publish(&a, 0);
    publish(&b, 10);
    handing::hand_over(&bench.store, &a, "debian", "debian").unwrap();
    handing::revoke(&bench.store, &b, "debian", "leaked key").unwrap();
    assert_eq!(bench.current(), "a");
    assert_eq!(publish(&c, 20), [""; 0], "a is the only one that the name can go back to");
    assert_eq!(publish(&d, 30), [0, 10].map(dated), "both are older than what is kept");
    assert_eq!(bench.listing().len(), 4);
}

/// What was rolled back from is newer, but was not the current one before this one.
#[test]
fn the_image_that_had_the_name_last_stays() {
    let bench = Bench::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| bench.image(name));
    bench.publish(&a, 0);
    bench.publish(&b, 10);
    handing::hand_over(&bench.store, &a, "debian", "debian").unwrap();
    let publication = Publication { last: Some(a.sha512), ..publication(1) };
    let published = publish(&bench.store, &c, &publication, at(20)).unwrap();
    assert_eq!(published.removed, [dated(10)]);
    let again = prune(&bench.store, &publication, at(30)).unwrap();
    assert_eq!(again, Pruned::default());
}

#[test]
fn whether_a_name_can_be_handed_over_is_known_before_anything_is_done() {
    let bench = Bench::new();
    let [a, b] = ["a", "b"].map(|name| bench.image(name));
    bench.publish(&a, 0);
    let before = bench.listing();
    let check = |image: &Image, name: &str| handing::check(&bench.store, image, "debian", name);
    check(&a, "stable").unwrap();
    assert_eq!(check(&b, "stable").unwrap_err().trouble, Trouble::Fault, "it was never published");
    let older = check(&a, "web.20261123T084700Z").unwrap_err();
    assert_eq!(older.trouble, Trouble::Configuration, "{older}");
    assert_eq!(bench.listing(), before);
}

#[test]
fn publishing_again_changes_nothing_even_when_the_store_has_forgotten_the_image() {
    let bench = Bench::new();
    bench.publish(&bench.image("a"), 0);
    let image = bench.image("b");
    bench.publish(&image, 10);
    let before = bench.listing();
    bench.publish(&image, 20);
    assert_eq!(bench.listing(), before);
    bench.store.remove("b").unwrap();
    assert_eq!(bench.current(), "b", "removing the build's image leaves the published one");
    bench.publish(&image, 30);
    assert_eq!(bench.listing(), before);
}

#[test]
fn a_crash_after_any_step_loses_and_doubles_nothing() {
    for steps in 0..=4 {
        let bench = Bench::new();
        bench.publish(&bench.image("a"), 0);
        let image = bench.image("b");
        let public = bench.public();
        if steps > 0 {
            public.keep(Format::Qcow2).unwrap();
            assert_eq!(bench.current(), "a");
        }
        if steps > 1 {
            fs::hard_link(bench.store.file("b", Format::Qcow2), images::part(&public.current())).unwrap();
        }
        if steps > 2 {
            public.put(&image, at(10)).unwrap();
            assert_eq!(bench.current(), "b");
        }
        if steps > 3 {
            public.describe(&image).unwrap();
        }
        // The same build goes on; or, in its place, the next one comes.
        bench.publish(&image, 10);
        let mut expected = [pair(&dated(0), "a"), pair("debian", "b")].concat();
        expected.sort();
        assert_eq!(bench.listing(), expected, "after {steps} steps");
    }
}

#[test]
fn another_build_goes_on_after_a_crash_without_mixing_up_records() {
    let bench = Bench::new();
    bench.publish(&bench.image("a"), 0);
    bench.public().keep(Format::Qcow2).unwrap();
    bench.public().put(&bench.image("b"), at(10)).unwrap();
    bench.publish(&bench.image("c"), 20);
    let mut expected = [pair(&dated(0), "a"), pair("debian", "c")].concat();
    expected.push((format!("{}.qcow2", dated(10)), "b".into()));
    expected.sort();
    assert_eq!(bench.listing(), expected, "b was never described, and has not got a's record");
}

#[test]
fn a_dated_name_of_the_current_image_goes() {
    let bench = Bench::new();
    let image = bench.image("a");
    bench.publish(&image, 0);
    bench.public().keep(Format::Qcow2).unwrap();
    bench.publish(&image, 0);
    assert_eq!(bench.listing(), pair("debian", "a"));
}

#[test]
fn dates_grow_even_when_the_clock_does_not() {
    let bench = Bench::new();
    bench.publish(&bench.image("a"), 100);
    bench.publish(&bench.image("b"), 100);
    bench.publish(&bench.image("c"), 0);
    let mut expected = [pair(&dated(100), "a"), pair(&dated(101), "b"), pair("debian", "c")].concat();
    expected.sort();
    assert_eq!(bench.listing(), expected);
}

#[test]
fn another_image_of_the_same_second_is_not_overwritten() {
    let bench = Bench::new();
    bench.publish(&bench.image("a"), 0);
    fs::write(bench.store.published().join(format!("{}.qcow2", dated(0))), "stranger").unwrap();
    bench.publish(&bench.image("b"), 10);
    let contents: Vec<_> = bench.listing().into_iter().map(|(_, content)| content).collect();
    assert!(contents.contains(&"stranger".to_owned()) && contents.contains(&"a".to_owned()));
}

#[test]
fn an_image_that_has_changed_is_not_published() {
    let bench = Bench::new();
    let image = bench.image("a");
    let longer = Image { size_bytes: 99, ..image.clone() };
    let other = Image { sha512: "other".into(), ..image };
    for image in [longer, other] {
        let error = publish(&bench.store, &image, &publication(1), at(0)).unwrap_err();
        assert_eq!(error.trouble, Trouble::Corrupt);
    }
    assert!(bench.listing().is_empty());
}

#[test]
fn names_of_other_schedules_are_left_alone() {
    let bench = Bench::new();
    for name in ["debian-13", "debian.lean", "debian.1x"] {
        publish(&bench.store, &bench.image("x"), &Publication { name: name.into(), ..publication(0) }, at(0))
            .unwrap();
    }
    bench.publish(&bench.image("a"), 0);
    publish(&bench.store, &bench.image("b"), &publication(0), at(5)).unwrap();
    assert_eq!(bench.listing().len(), 8, "{:?}", bench.listing());
    for name in ["debian.20260101T000000Z", "../x", ""] {
        let error = PublishedName::new(&bench.store, name, "none").err().unwrap();
        assert_eq!(error.trouble, Trouble::Configuration, "{name}");
    }
}

#[test]
fn a_name_that_changes_its_format_keeps_its_last_image_of_the_other() {
    let bench = Bench::new();
    bench.publish(&bench.image("a"), 0);
    let raw = bench.image_as("b", Format::Raw);
    let published = bench.publish(&raw, 10);
    assert!(published.location.ends_with("/debian.raw"), "{}", published.location);
    let mut expected = pair(&dated(0), "a").to_vec();
    expected.extend([("debian.json".to_owned(), "b".to_owned()), ("debian.raw".to_owned(), "b".to_owned())]);
    expected.sort();
    assert_eq!(bench.listing(), expected);
    bench.publish(&raw, 20);
    assert_eq!(bench.listing(), expected, "again");
    bench.store.remove("b").unwrap();
    bench.publish(&raw, 30);
    assert_eq!(bench.listing(), expected, "once it has left the store");
    publish(&bench.store, &bench.image("c"), &publication(1), at(40)).unwrap();
    let names: Vec<_> = bench.listing().into_iter().map(|(name, _)| name).collect();
    let older = dated(10);
    let expected =
        [format!("{older}.json"), format!("{older}.raw"), "debian.json".into(), "debian.qcow2".into()];
    assert_eq!(names, expected, "the oldest goes, whatever its format");
}

/// The age is that of the build, whenever the image got the name; one without an id of a build is as old as its name.
#[test]
fn an_image_is_as_old_as_its_build() {
    let bench = Bench::new();
    let built = |name: &str, second| {
        let image = bench.image(name);
        let time =
            uuid::Timestamp::from_unix(uuid::ContextV7::new(), u64::try_from(FIRST + second).unwrap(), 0);
        let record = bench.store.record(name).unwrap();
        let record = Record { build_id: uuid::Uuid::new_v7(time).to_string(), ..record };
        bench.store.describe(&record).unwrap();
        image
    };
    let day: i64 = 86_400;
    let keep_for = |days: u64| Publication {
        keep_for: Some(std::time::Duration::from_hours(24 * days)),
        ..publication(0)
    };
    // Built in another order than published.
    for (name, second, published) in
        [("b", 2 * day, 10 * day), ("a", day, 11 * day), ("c", 12 * day, 12 * day)]
    {
        let image = built(name, second);
        publish(&bench.store, &image, &keep_for(1000), at(published)).unwrap();
    }
    let prune = |days, second| prune(&bench.store, &keep_for(days), at(second)).unwrap();
    assert_eq!(prune(20, 20 * day), Pruned::default());
    assert_eq!(prune(12, 13 * day + 1).removed, [dated(11 * day)], "the one that was built first");
    assert_eq!(prune(12, 13 * day + 1), Pruned::default(), "again it does nothing");
    // What cannot be removed is held, by its hash, and goes another time.
    let file = bench.public().file(&dated(10 * day), Format::Qcow2);
    let content = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let held = prune(1, 100 * day);
    assert_eq!((held.removed.len(), held.held[0].sha512.as_str()), (0, "sha of b"), "{held:?}");
    fs::remove_dir(&file).unwrap();
    fs::write(&file, content).unwrap();
    assert_eq!(prune(1, 100 * day).removed, [dated(10 * day)]);
    assert_eq!(bench.current(), "c", "the current one stays, whatever its age");
    fs::remove_file(bench.public().current()).unwrap();
    assert_eq!(prune(1, 1000 * day), Pruned::default(), "without a current one nothing goes");
}
