use proptest::prelude::*;

use super::*;

fn package(name: &str, needs: &[String]) -> Package {
    let text = String::new;
    Package {
        name: name.to_owned(),
        version: text(),
        fingerprint: text(),
        digest: text(),
        dependencies: needs.to_vec(),
        archive: None,
    }
}

#[test]
fn a_missing_package_and_a_circle_are_named() {
    let packages = [package("a", &["b".to_owned()]), package("b", &["a".to_owned()])];
    assert_eq!(
        closure(&packages, &["x".to_owned()]).unwrap_err().to_string(),
        "Package name 'x' not found in the release"
    );
    assert_eq!(closure(&packages, &["b".to_owned()]).unwrap_err().to_string(), "Cycle: b=>a=>b");
}

proptest! {
    /// Packages depend only on earlier ones, so there is no circle; they are listed in any order.
    #[test]
    fn every_package_comes_once_and_after_what_it_needs(
        edges in prop::collection::vec((0_usize..12, 0_usize..12), 0..40),
        wanted in prop::collection::vec(0_usize..12, 1..5),
        reverse in any::<bool>(),
    ) {
        let name = |number: usize| format!("p{number}");
        let mut packages: Vec<_> = (0..12).map(|number| {
            let needs: Vec<_> = edges.iter().filter(|(from, to)| *from == number && to < from).map(|(_, to)| name(*to)).collect();
            package(&name(number), &needs)
        }).collect();
        if reverse {
            packages.reverse();
        }
        let wanted: Vec<_> = wanted.into_iter().map(name).collect();
        let found = closure(&packages, &wanted).unwrap();
        let place = |name: &String| found.iter().position(|package| package.name == *name);
        for (position, package) in found.iter().enumerate() {
            prop_assert_eq!(place(&package.name), Some(position));
            for need in &package.dependencies {
                prop_assert!(place(need).unwrap() < position);
            }
        }
        prop_assert!(wanted.iter().all(|name| place(name).is_some()));
    }
}
