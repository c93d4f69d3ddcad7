//! A closed network as it really is: packets are dropped, not refused, and names do not resolve.
//! Nobody may wait for anything outside.

use crate::binary::{said, stdout, wrapped};
use crate::support::{LONG, Scene, mirror, skip};
use airlock::mirror::Patience;
use airlock::sample::Site;
use std::process::Output;

/// In namespaces of its own: a route that swallows every packet, and a name server behind it.
const BLACK_HOLE: &str = r#"
    ip link set lo up && ip addr add 192.0.2.1/32 dev lo && ip route add default dev lo src 192.0.2.1 || exit 77
    echo nameserver 192.0.2.53 > resolv.conf
    mount --bind resolv.conf "$(readlink -f /etc/resolv.conf)" || exit 77
"#;

/// Waits until the server in the background has said where it serves.
const SERVE: &str = r#"
    serve() {
        rm -f log # of a server before: it would be taken for this one's
        "$0" serve --listen 127.0.0.1:0 "$@" 2> log &
        serving=$!
        trap 'kill $serving' EXIT
        until grep -qs 'serving at' log; do kill -0 $serving || exit 20; done
        server=$(sed -n 's/.*serving at \(http:[^, ]*\).*/\1/p' log | head -n 1)
    }
"#;

/// Runs a script there; `$0` is the binary.
pub(crate) async fn in_a_black_hole(
    scene: &Scene,
    what: &str,
    environment: &[(&str, &str)],
    script: &str,
) -> Option<Output> {
    let whole = format!("{BLACK_HOLE}{SERVE}{script}");
    let mut command = wrapped(scene.folder.path(), &["unshare", "-n", "-m", "sh", "-c", &whole]);
    command.envs(environment.iter().copied());
    let output = tokio::time::timeout(LONG * 5, command.output()).await.unwrap().unwrap();
    if output.status.code() == Some(77) || said(&output).1.contains("unshare failed") {
        skip(&format!("namespaces: {what}"));
        return None;
    }
    Some(output)
}

async fn warm() -> (Scene, String, String) {
    let scene = Scene::new().await;
    let mirror = mirror(&scene.online());
    mirror.refresh_registries(Patience::prewarm(1)).await;
    let site = Site::sample().unwrap();
    let mut resources =
        site.resources().filter(|resource| resource.uuid().is_some()).map(|resource| resource.to_string());
    let (hit, miss) = (resources.next().unwrap(), resources.next().unwrap());
    mirror.fetch(&hit.parse().unwrap(), Patience::prewarm(1)).await.unwrap();
    (scene, hit, miss)
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_and_listings_come_while_a_miss_waits_for_a_black_hole() {
    let (scene, hit, miss) = warm().await;
    // 192.0.2.9 drops packets; the name costs a look-up that nobody answers.
    for upstream in ["http://192.0.2.9", "https://pkg.example.org"] {
        let environment = [("HIT", hit.as_str()), ("MISS", miss.as_str()), ("UPSTREAM_URL", upstream)];
        // On a machine with much else to do the miss may end before the hits have been asked for.
        // That shows nothing, so it is tried again, with a server that remembers no failure.
        let script = r#"
            for try in 1 2 3 4 5 6 7 8 9 10; do
                serve --upstream "$UPSTREAM_URL"
                curl -sv -o /dev/null -w '%{http_code}' "$server$MISS" > missed 2> asked &
                missing=$!
                until grep -qs '^> GET' asked; do kill -0 $missing || break; done
                curl -sf "$server$HIT" "$server/registries" "$server/health" > hits || exit 21
                [ -s missed ] || waited=yes
                wait $missing
                [ "$waited" ] && break
                kill $serving
            done
            [ "$waited" ] || exit 22
            cat missed
        "#;
        let Some(output) = in_a_black_hole(&scene, "a black hole", &environment, script).await else { return };
        let (code, text) = said(&output);
        assert_eq!(code, Some(0), "{upstream}: {text}");
        // Before a client would have left, and not as if upstream had said "not found".
        assert!(["502", "504"].contains(&stdout(&output).as_str()), "{upstream}: {}", stdout(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_a_miss_is_refused_without_a_look_outside() {
    let (scene, _, miss) = warm().await;
    let script = r#"
        serve --offline
        curl -s --max-time 2 -w '%{http_code}' "$server$MISS"
    "#;
    let Some(output) = in_a_black_hole(&scene, "offline misses", &[("MISS", &miss)], script).await else { return };
    let answer = stdout(&output);
    assert!(answer.ends_with("404") && answer.contains("airlock misses export"), "{answer} {:?}", said(&output));
}
