//! What a bootstrap made outlives its build, when its image was good, and nothing else does.

use std::path::PathBuf;

use crate::bench::Bench;

const KEY: &str = "5f1c0c6a4e0c0d0b7a3c6a5e2f8d9b1c5f1c0c6a4e0c0d0b7a3c6a5e2f8d9b1c";

/// What the elements do, with a bootstrap that is none.
const SCRIPT: &str = r#"
set -e
kept=$(ls "$IMAGE_MANAGER_BASES")
echo "kept: ${kept:-none}"
touch "$IMAGE_MANAGER_BASES/mine" 2>/dev/null && echo "wrote to the kept ones"
if [ -n "$kept" ]; then
    [ "$(sha256sum <"$IMAGE_MANAGER_BASES/$kept" | cut -d ' ' -f 1)" = "$(cut -d . -f 2 <<<"$kept")" ] && echo "whole"
    echo "$kept" >"$IMAGE_MANAGER_BASE/used"
fi
echo KEY >"$IMAGE_MANAGER_BASE/key"
echo bootstrapped >"$IMAGE_MANAGER_BASE/made.tar.zst"
"#;

fn bench(end: &str) -> Option<Bench> {
    Bench::new("bases", &[&SCRIPT.replace("KEY", KEY), end].concat())
}

fn kept(bench: &Bench) -> Vec<PathBuf> {
    std::fs::read_dir(&bench.order.bases).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn the_next_build_has_the_base_of_a_good_one_to_read() {
    let Some(bench) = bench("image; echo 'Build completed successfully'") else { return };
    bench.run_to_end().await.unwrap();
    assert!(bench.log().contains("| kept: none"), "{}", bench.log());
    bench.clean().await;
    let [base] = kept(&bench).try_into().unwrap();
    assert_eq!(std::fs::read_to_string(&base).unwrap(), "bootstrapped\n");
    assert!(base.file_name().unwrap().to_str().unwrap().starts_with(&format!("{KEY}.")));

    bench.run_to_end().await.unwrap();
    let log = bench.log();
    assert!(log.contains(&format!("| kept: {KEY}.")) && log.contains("| whole"), "{log}");
    assert!(!log.contains("wrote to the kept ones"), "{log}");
    bench.clean().await;
    assert_eq!(kept(&bench), [base]);
}

#[tokio::test]
async fn a_build_that_fails_leaves_no_base() {
    let Some(bench) = bench("exit 1") else { return };
    bench.run_to_end().await.unwrap_err();
    bench.clean().await;
    assert!(kept(&bench).is_empty());
}
