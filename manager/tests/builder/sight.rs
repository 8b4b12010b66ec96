//! What a hook sees when it looks around on the host: nothing of the manager's, of other builds or of anybody's home.

use std::path::{Path, PathBuf};

use image_manager::builder::{InputFile, Secret};

use super::bench::Bench;
use super::failures::{element, real};

/// What nobody's hook is to find.
const CANARY: &str = "canary-of-the-manager";

/// Looks with other eyes than a path: through the working directories of all processes, too.
const LOOK: &str = r#"
look() {
    for place in "$STATE" "$STATE/token" /root /home /etc/openstack /etc/image-manager /var/lib/cloud "$OTHER" \
        /proc/*/cwd/.. /proc/*/cwd/../.. /proc/1/root/"$STATE" "$CLOUDS"; do
        if [ -d "$place" ]; then
            grep -rsl canary-of-the-manager "$place" --include='*canary*' --include=token --include=clouds.yaml
        else
            cat "$place" 2>/dev/null
        fi
    done
}
echo "found: $(look | tr '\n' ' ') end"
echo "home: $(find /root /home /etc/openstack /etc/image-manager -mindepth 1 2>/dev/null | tr '\n' ' ') end"
echo "scratch: $([ -w "$HOME" ] && [ -w "$TMP_DIR" ] && touch "$DIB_IMAGE_CACHE/kept" && echo mine) end"
for place in "$ELEMENTS" "$IMAGE_MANAGER_AGENT"; do
    [ -e "$place" ] || echo "missing: $place"
    if touch "$place/x" 2>/dev/null || (echo x >>"$place") 2>/dev/null; then echo "changed: $place"; fi
done
"#;

/// A bench whose state directory has what a manager's has, with the build's own parts in it.
fn with_canaries(bench: &mut Bench) -> PathBuf {
    let state = bench.directory.path().canonicalize().unwrap().join("state");
    let other = state.join("scratch/other-build");
    for place in [&state, &other, &state.join("builds/other-build"), &state.join("elements/one")] {
        std::fs::create_dir_all(place).unwrap();
        std::fs::write(place.join("a-canary"), CANARY).unwrap();
    }
    std::fs::write(state.join("token"), CANARY).unwrap();
    let clouds = bench.directory.path().canonicalize().unwrap().join("clouds.yaml");
    std::fs::write(&clouds, CANARY).unwrap();
    std::fs::write(state.join("agent"), "agent").unwrap();
    std::fs::remove_file(state.join("elements/one/a-canary")).unwrap();
    bench.order.scratch = state.join("scratch/this-build");
    bench.order.cache = state.join("cache");
    bench.order.agent = state.join("agent");
    bench.order.elements_path.push(state.join("elements"));
    bench.order.private = vec![state.clone(), state.join("scratch"), clouds.clone()];
    let mut set = |name: &str, value: &Path| {
        bench.order.environment.insert(name.to_owned(), value.display().to_string());
    };
    set("STATE", &state);
    set("OTHER", &other);
    set("CLOUDS", &clouds);
    set("ELEMENTS", &state.join("elements"));
    state
}

#[track_caller]
fn saw_nothing(log: &str, state: &Path) {
    assert!(log.contains("found:  end"), "{log}");
    assert!(log.contains("home:  end"), "{log}");
    assert!(log.contains("scratch: mine end"), "{log}");
    assert!(!log.contains("missing: ") && !log.contains("changed: "), "{log}");
    assert!(!log.contains(CANARY), "{log}");
    assert!(state.join("cache/kept").exists());
    assert_eq!(std::fs::read_to_string(state.join("token")).unwrap(), CANARY);
}

#[tokio::test]
async fn a_build_sees_nothing_of_the_manager_and_of_other_builds() {
    let Some(mut bench) = Bench::new("sight", &[LOOK, "image"].concat()) else { return };
    let state = with_canaries(&mut bench);
    bench.run_to_end().await.unwrap();
    let log = bench.log();
    saw_nothing(&log, &state);
    bench.clean().await;
}

#[tokio::test]
async fn a_hook_of_an_element_sees_no_more() {
    let Some(mut bench) = real("hook-sight", &["quick", "looks"]) else { return };
    let state = with_canaries(&mut bench);
    let hook = format!("#!/bin/bash\nset +e +x\nsudo -E bash -c '{}'\nexit 7\n", LOOK.replace('\'', "'\\''"));
    element(&bench, "looks", "extra-data.d/50-looks", &hook);
    bench.run_to_end().await.unwrap_err();
    let log = bench.log();
    saw_nothing(&log, &state);
    bench.clean().await;
}

#[tokio::test]
async fn what_hooks_make_has_the_modes_of_an_image() {
    let Some(bench) = Bench::new("modes", "umask; image") else { return };
    bench.run_to_end().await.unwrap();
    assert!(bench.log().contains("| 0022\n"), "{}", bench.log());
    bench.clean().await;
}

/// What a hook finds of the build's secrets: the file that one came from, its directory, and its value.
const SECRETS: &str = r#"
echo "source: $(cat "$SOURCE" 2>&1 | tr '\n' ' ') end"
echo "modes: $(stat -c '%a %T' "$IMAGE_MANAGER_SECRETS_DIR" "$IMAGE_MANAGER_SECRETS_DIR"/* | tr '\n' ' ') end"
echo "type: $(stat -f -c %T "$IMAGE_MANAGER_SECRETS_DIR") end"
echo "length: $(wc -c <"$IMAGE_MANAGER_SECRETS_DIR/LINES") end"
cat "$IMAGE_MANAGER_SECRETS_DIR/LINES"
echo "arguments: $(cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\0' ' ' | grep -c '[s]wordfish')"
echo "inputs: $(cat "$IMAGE_MANAGER_INPUTS/files/0") $(stat -c %a "$IMAGE_MANAGER_INPUTS") end"
read -r line && echo "input: $line"
"#;

#[tokio::test]
async fn secrets_are_files_of_the_build_alone_and_masked_in_its_log() {
    let Some(mut bench) = Bench::new("secrets", &[SECRETS, "image"].concat()) else { return };
    let source = bench.directory.path().canonicalize().unwrap().join("token");
    std::fs::write(&source, "from-the-file").unwrap();
    bench.order.environment.insert("SOURCE".to_owned(), source.display().to_string());
    let secret = |name: &str, value: &[u8]| Secret::new(name.to_owned(), source.clone(), value.to_vec());
    bench.order.inputs.secrets =
        vec![secret("LINES", b"swordfish-one\nswordfish-two\n"), secret("BINARY", &[0, 1, 255, 10, 0])];
    bench.order.inputs.files = vec![InputFile { path: "files/0".to_owned(), content: b"content".to_vec() }];
    bench.run_to_end().await.unwrap();
    let log = bench.log();
    for line in [
        "source:  end",
        "modes: 700 0 600 0 600 0  end",
        "type: tmpfs end",
        "length: 28 end",
        "[secret LINES]",
        "arguments: 0",
        "inputs: content 700 end",
    ] {
        assert!(log.contains(line), "{line}:\n{log}");
    }
    assert!(!log.contains("swordfish") && !log.contains("input: "), "{log}");
    assert!(!Path::new("/dev/shm/image-manager-secrets").exists(), "it is the build's alone");
    bench.clean().await;
}
