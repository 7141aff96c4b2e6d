//! The stand-in for bosh-dns on a VM.

use serde_json::json;

use crate::driver::{Vm, job, printed, read};

pub(crate) fn bosh_dns_answers_from_the_records_it_is_given() {
    let home = tempfile::tempdir().unwrap();
    let mut vm = Vm::boot(home.path(), false);
    // A question for `way.lab`, type A, class IN. The last four bytes of the answer are the address.
    let ask = r#"#!/bin/bash
        for try in {1..100}; do
            exec 3<>/dev/udp/169.254.0.2/53
            printf '\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03way\x03lab\x00\x00\x01\x00\x01' >&3
            answer=$(timeout 5 dd bs=512 count=1 <&3 2>/dev/null | od -An -v -tu1 | tr -s ' \n' ' ')
            [[ "$answer" == *" 10 9 8 7 " ]] && exit 0
            sleep 0.1
        done
        echo "$answer" >&2; exit 1"#;
    let records = |version: u32, address: &str| {
        json!({
            "records": [[address, "x.web.default.shop.bosh"]], "version": version,
            "record_keys": ["id", "instance_group", "group_ids", "network", "deployment", "ip", "domain"],
            "record_infos": [["x", "web", ["3"], "default", "shop", address, "bosh"]],
            "aliases": {"way.lab": [{"root_domain": "bosh", "group_id": "3", "health_filter": "all"}]},
        })
        .to_string()
    };
    vm.done(json!({"sync_dns": records(2, "10.9.8.7")}));
    vm.done(json!({"sync_dns": records(1, "10.9.8.6")}));
    assert!(read(&home, "instance/dns/records.json").contains("10.9.8.7"), "an older version took its place");
    let dns = json!({"name": "bosh-dns", "release": "bosh-dns", "files": [], "monit": ""});
    let web = job(
        "web",
        "cat /etc/resolv.conf /etc/hosts; echo shown; exec sleep 1000",
        json!({}),
        &[("bin/post-start", ask)],
    );
    vm.apply(json!([dns, web])).unwrap();
    vm.start().unwrap();
    let shown = printed(&home, "web", "shown");
    assert!(shown.contains("nameserver 169.254.0.2") && shown.contains("10.9.8.7 x.web.default.shop.bosh"), "{shown}");
}
