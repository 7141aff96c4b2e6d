use proptest::{collection::vec, prelude::*};

use super::*;

fn written(domains: &[String]) -> String {
    let entry = |(at, domain): (usize, &String)| serde_json::json!({"domain": domain, "source": {"type": "dns", "recursors": [format!("127.0.0.1:{}", at + 1)]}});
    serde_json::Value::from(domains.iter().enumerate().map(entry).collect::<Vec<_>>()).to_string()
}

proptest! {
    #[test]
    fn whatever_is_written_is_understood_or_refused(
        text in any::<String>(), domain in any::<String>(), kind in "dns|http|[a-z]{0,4}", url in "(http://)?[a-z:0-9/é ]{0,12}",
        recursor in "[0-9.:a-f\\[\\]]{0,12}",
    ) {
        let _ = Handlers::read(&text);
        let source = serde_json::json!({"type": kind, "url": url, "recursors": [recursor]});
        match Handlers::read(&serde_json::json!([{"domain": domain, "source": source}]).to_string()) {
            Ok(handlers) => prop_assert!(handlers.iter().all(|(domain, _)| domain.ends_with('.'))),
            Err(reason) => prop_assert!(reason.starts_with(&domain), "{reason}"),
        }
    }

    #[test]
    fn a_name_belongs_to_the_longest_domain_that_it_ends_in(
        domains in vec("[ab]{1,2}(\\.[ab]{1,2}){0,2}\\.?", 0..6), name in "([ab]{1,2}\\.){1,4}",
    ) {
        let handlers = Handlers::read(&written(&domains)).unwrap();
        let labels = |name: &str| name.trim_end_matches('.').split('.').map(str::to_owned).collect::<Vec<_>>();
        let within = domains.iter().map(|domain| labels(domain)).filter(|domain| labels(&name).ends_with(domain));
        let longest = within.max_by_key(Vec::len);
        let found = handlers.find(&name).map(|upstream| match upstream {
            Upstream::Dns(address) => labels(&domains[usize::from(address.port()) - 1]),
            Upstream::Http(_) => unreachable!("none was written"),
        });
        prop_assert_eq!(found, longest);
    }
}
