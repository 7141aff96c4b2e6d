//! A VM and its pilot: what keeper and authority make of each other, through days that a test passes in moments. Of the
//! connection between them only what TLS proves is imitated.

mod world;

use std::{fs, sync::atomic::Ordering};

use boshy_identity::TrustBundle;

use self::world::{Ca, Pilot, Vm};
use crate::held_identity::samples::ID;

#[tokio::test]
async fn a_certificate_is_renewed_life_after_life_each_time_with_another_key() {
    let vm = Vm::start(&Ca::new());
    let mut keys = Vec::new();
    for _ in 0..20 {
        vm.is_certified().await;
        keys.push(vm.key().unwrap());
        vm.days_pass(0.6);
    }
    keys.sort_by_key(ToString::to_string);
    keys.dedup();
    assert_eq!(keys.len(), 20);
}

#[tokio::test]
async fn a_pilot_that_is_away_for_longer_than_half_a_life_is_missed_in_the_last_quarter() {
    let vm = Vm::start(&Ca::new());
    vm.is_certified().await;
    let (first, away) = (vm.key(), vm.pilot.lock().unwrap().take());
    vm.days_pass(0.7);
    vm.until("it has asked", |vm| vm.parts.trouble.load().unanswered.is_some()).await;
    assert_eq!((vm.key(), vm.lacks()), (first, None));
    vm.days_pass(0.1);
    assert!(vm.lacks().unwrap().contains("has not been renewed: no pilot"));
    vm.has(away);
    vm.is_certified().await;
    assert_ne!(vm.key(), first);
}

#[tokio::test]
async fn a_vm_that_was_off_for_three_lives_comes_back_by_itself() {
    let mut vm = Vm::start(&Ca::new());
    vm.is_certified().await;
    let first = vm.key();
    vm.is_switched_off().await;
    vm.days_pass(3.0);
    vm.is_switched_on();
    assert_eq!(vm.key(), first, "it begins with what is on its disk");
    vm.is_certified().await;
}

#[tokio::test]
async fn a_vm_whose_disk_is_an_old_one_after_a_life_away_is_told_what_to_do() {
    let mut vm = Vm::start(&Ca::new());
    vm.is_certified().await;
    let before = fs::read(&vm.parts.file).unwrap();
    vm.days_pass(0.6);
    vm.is_certified().await;
    let known = vm.key();
    vm.is_switched_off().await;
    fs::write(&vm.parts.file, before).unwrap();
    vm.days_pass(3.0);
    vm.is_switched_on();
    vm.until("it is told what to do", |vm| vm.lacks().is_some_and(|reason| reason.contains("boshy identity allow")))
        .await;
    assert_ne!(vm.key(), known);
}

#[tokio::test]
async fn a_pilot_that_has_lost_its_file_accepts_the_next_key_and_then_no_other() {
    let ca = Ca::new();
    let mut vm = Vm::start(&ca);
    vm.is_certified().await;
    vm.has(Some(Pilot::start(&ca, &vm.clock)));
    vm.days_pass(3.0);
    vm.is_certified().await;
    let known = vm.key();
    vm.is_switched_off().await;
    fs::remove_file(&vm.parts.file).unwrap();
    vm.is_switched_on();
    vm.until("it is refused", |vm| vm.lacks().is_some()).await;
    assert_ne!(vm.key(), known);
}

#[tokio::test]
async fn a_vm_that_has_lost_its_file_is_told_what_to_do_and_comes_back_when_that_is_done() {
    let mut vm = Vm::start(&Ca::new());
    vm.is_certified().await;
    vm.is_switched_off().await;
    fs::remove_file(&vm.parts.file).unwrap();
    vm.is_switched_on();
    let told = format!("run `boshy identity allow {ID}` on the VM of each pilot");
    vm.until("it is told", |vm| vm.lacks().is_some_and(|reason| reason.contains(&told))).await;

    let desk = vm.pilot.lock().unwrap().as_ref().unwrap().desk.clone();
    assert_eq!(desk.allow(ID.to_owned()).await, Ok(1));
    vm.is_certified().await;
}

#[tokio::test]
async fn a_vm_whose_pilot_has_another_authority_gets_a_certificate_of_it_by_itself() {
    let (old, new) = (Ca::new(), Ca::new());
    let vm = Vm::start(&old);
    vm.is_certified().await;
    let first = vm.issued().unwrap();
    // The pilot knows the VM's key, and does not accept its certificate.
    let pilot = Pilot::start(&new, &vm.clock);
    let bundle = pilot.bundle.clone();
    assert!(bundle.leaf_of_any_time(first.chain().leaf_pem()).is_err());
    vm.follows(pilot);
    vm.is_vouched_for(&bundle, 1).await;
}

#[tokio::test]
async fn a_root_is_replaced_through_both_without_waiting_for_a_renewal() {
    let (old, new) = (Ca::new(), Ca::new());
    let vm = Vm::start(&old);
    vm.is_certified().await;
    let only = |ca: &Ca| TrustBundle::from_pem(&ca.0.pem()).unwrap();
    vm.follows(Pilot::trusting(&old, &[&new], &vm.clock));
    vm.is_vouched_for(&only(&old), 2).await;
    vm.follows(Pilot::trusting(&new, &[&old], &vm.clock));
    vm.is_vouched_for(&only(&new), 2).await;
    vm.follows(Pilot::start(&new, &vm.clock));
    vm.is_vouched_for(&only(&new), 1).await;
}

#[tokio::test]
async fn an_authority_that_expires_under_a_running_pilot_is_reported_at_both_ends_until_there_is_another() {
    // A day and two thirds from now.
    let vm = Vm::start(&Ca::until(2027, 17));
    vm.is_certified().await;
    vm.days_pass(2.0);
    vm.until("the VM reports it", |vm| vm.lacks().is_some_and(|reason| reason.ends_with("seconds after 1970 (UTC)")))
        .await;
    let lack = vm.pilot.lock().unwrap().as_ref().unwrap().desk.lack().unwrap();
    assert!(lack.reason.contains("has expired") && lack.remedy.starts_with("Renew the CA"), "{lack:?}");
    vm.follows(Pilot::start(&Ca::new(), &vm.clock));
    vm.is_certified().await;
}

#[tokio::test]
async fn clocks_ten_minutes_apart_cost_nothing_in_any_life() {
    for ahead in [-600, 600] {
        let vm = Vm::with_clock_ahead(&Ca::new(), ahead);
        for _ in 0..4 {
            vm.is_certified().await;
            vm.days_pass(0.6);
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_further_behind_is_blamed_and_the_certificate_comes_once_it_is_right() {
    let vm = Vm::with_clock_ahead(&Ca::new(), -700);
    vm.until("the clock is blamed", |vm| vm.lacks().is_some_and(|reason| reason.contains("valid"))).await;
    vm.ahead.store(0, Ordering::Relaxed);
    vm.is_certified().await;
}
