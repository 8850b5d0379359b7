//! Which scenario may begin beside those that run: decided from what each takes and what is known of its duration.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

/// What a scenario takes from the others while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing outside its namespace, and no pod takes the place of another.
    Nothing,
    /// Room on the node for a pod more, as pods are replaced.
    Room,
    /// The same, and nobody else may put load on the cluster: it counts lost requests.
    Load,
    /// The free node ports: it gets new ones, or lets go of its own for a while.
    NodePorts,
    /// The node, its images, Docker, the kubeconfig or the tool's folders: nothing may run beside it.
    All,
}

impl Takes {
    fn replaces_pods(self) -> bool {
        matches!(self, Takes::Room | Takes::Load)
    }
}

/// A scenario of a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn {
    pub takes: Takes,
    /// How long it takes, or has left to run.
    pub time: Duration,
}

/// The CPU that a namespace's pods request, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// By all of its pods together.
    pub held: u64,
    /// By the largest pod that is made beside the one that it replaces.
    pub surge: u64,
}

/// Scenarios of one namespace, which take turns. It is open from its first scenario to its last: its pods stay.
#[derive(Clone, Debug)]
pub struct Lane {
    pub waiting: VecDeque<Turn>,
    pub running: Option<Turn>,
    pub is_open: bool,
    pub cpu: Requests,
    /// Those that it has for itself while it is open.
    pub namespaces: Vec<String>,
}

/// How much may go on at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub jobs: usize,
    /// What pods may request of the nodes together.
    pub cpu: u64,
}

impl Lane {
    pub fn new(turns: impl IntoIterator<Item = Turn>, cpu: Requests) -> Lane {
        Lane { waiting: turns.into_iter().collect(), running: None, is_open: false, cpu, namespaces: Vec::new() }
    }

    pub fn begin(&mut self) {
        self.is_open = true;
        self.running = self.waiting.pop_front();
    }

    pub fn end(&mut self) {
        self.running = None;
        self.is_open = !self.waiting.is_empty();
    }

    /// The time that the waiting ones take, by the CPU that they keep from others; every lane takes a job, too, which is
    /// worth 100 of it.
    fn work_left(&self) -> u128 {
        let time: Duration = self.waiting.iter().map(|turn| turn.time).sum();
        time.as_millis() * u128::from(self.cpu.held + self.cpu.surge + 100)
    }
}

/// The lane whose next scenario begins now; None where one that runs must end first. Lanes with the most left to do go
/// first, by time and by the room that they take from others; what takes everything waits until nothing else can begin. With
/// one job no lane gains by that: each is brought to its end before the next.
pub fn next(lanes: &[Lane], limits: Limits) -> Option<usize> {
    let running: Vec<Takes> = lanes.iter().filter_map(|lane| lane.running).map(|turn| turn.takes).collect();
    if running.len() >= limits.jobs || running.contains(&Takes::All) {
        return None;
    }
    let can_begin = |index: &usize| {
        let lane = &lanes[*index];
        let Some(turn) = lane.waiting.front().filter(|_| lane.running.is_none()) else { return false };
        let is_free = match turn.takes {
            Takes::All => running.is_empty(),
            Takes::NodePorts | Takes::Load => !running.contains(&turn.takes),
            Takes::Nothing | Takes::Room => true,
        };
        is_free && is_alone_in_its_namespaces(lanes, *index) && has_room(lanes, *index, turn.takes, limits.cpu)
    };
    let takes_all = |index: usize| lanes[index].waiting.front().is_some_and(|turn| turn.takes == Takes::All);
    let all = (0..lanes.len()).filter(can_begin);
    let is_later = |index: usize| if limits.jobs == 1 { !lanes[index].is_open } else { takes_all(index) };
    all.min_by_key(|index| (is_later(*index), Reverse(lanes[*index].work_left())))
}

/// Profiles that are deployed into the same namespace come one after another.
fn is_alone_in_its_namespaces(lanes: &[Lane], index: usize) -> bool {
    let shares = |other: &Lane| other.namespaces.iter().any(|name| lanes[index].namespaces.contains(name));
    !lanes.iter().enumerate().any(|(other, lane)| other != index && lane.is_open && shares(lane))
}

/// Whether the nodes have room for a lane's next scenario. A lane opens only where each that is open can still replace its
/// pods, one after another: else two could wait for each other's room. One that is alone runs in any case.
fn has_room(lanes: &[Lane], index: usize, takes: Takes, cpu: u64) -> bool {
    let lane = &lanes[index];
    let others = || lanes.iter().enumerate().filter(|(other, one)| *other != index && one.is_open).map(|(_, one)| one);
    if others().next().is_none() {
        return true;
    }
    let held = lane.cpu.held + others().map(|one| one.cpu.held).sum::<u64>();
    let own = if takes.replaces_pods() { lane.cpu.surge } else { 0 };
    let replacing = others().filter(|one| one.running.is_some_and(|turn| turn.takes.replaces_pods()));
    let surges = own + replacing.map(|one| one.cpu.surge).sum::<u64>();
    let largest = others().map(|one| one.cpu.surge).fold(lane.cpu.surge, u64::max);
    held + surges <= cpu && (lane.is_open || held + largest <= cpu)
}

/// How long all of it takes from now on, where each scenario takes as long as it is said to.
pub fn time_left(lanes: &[Lane], limits: Limits) -> Duration {
    let mut lanes = lanes.to_vec();
    let mut total = Duration::ZERO;
    loop {
        while let Some(index) = next(&lanes, limits) {
            lanes[index].begin();
        }
        let Some(step) = lanes.iter().filter_map(|lane| lane.running).map(|turn| turn.time).min() else { return total };
        total += step;
        for lane in &mut lanes {
            let Some(turn) = &mut lane.running else { continue };
            turn.time -= step;
            if turn.time.is_zero() {
                lane.end();
            }
        }
    }
}

/// A duration that is no more than likely, as a person says it.
pub fn rounded(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..90 => format!("about {} s", seconds.div_ceil(10) * 10),
        seconds => format!("about {} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(turns: &[(Takes, u64)], held: u64, surge: u64) -> Lane {
        let turn = |(takes, seconds): &(Takes, u64)| Turn { takes: *takes, time: Duration::from_secs(*seconds) };
        Lane::new(turns.iter().map(turn), Requests { held, surge })
    }

    fn limits(jobs: usize, cpu: u64) -> Limits {
        Limits { jobs, cpu }
    }

    /// Begins all that can begin, and returns which these are.
    fn begin_all(lanes: &mut [Lane], limits: Limits) -> Vec<usize> {
        let mut begun = Vec::new();
        while let Some(index) = next(lanes, limits) {
            lanes[index].begin();
            begun.push(index);
        }
        begun
    }

    #[test]
    fn as_many_begin_as_there_are_jobs_and_the_longest_lanes_first() {
        let short = || lane(&[(Takes::Room, 10)], 0, 0);
        let long = lane(&[(Takes::Room, 10), (Takes::Room, 30)], 0, 0);
        let mut lanes = [short(), long, short()];
        assert_eq!(begin_all(&mut lanes, limits(2, 100)), [1, 0]);
        lanes[1].end();
        assert!(lanes[1].is_open && !lanes[2].is_open);
        assert_eq!(begin_all(&mut lanes, limits(2, 100)), [1]);
        lanes[0].end();
        assert!(!lanes[0].is_open);
        assert_eq!(begin_all(&mut lanes, limits(2, 100)), [2]);
    }

    #[test]
    fn lanes_of_one_namespace_come_one_after_another() {
        let in_namespaces = |names: &[&str]| {
            let namespaces = names.iter().map(|name| name.to_string()).collect();
            Lane { namespaces, ..lane(&[(Takes::Room, 10), (Takes::Nothing, 10)], 0, 0) }
        };
        let mut lanes = [in_namespaces(&["default"]), in_namespaces(&["todo", "default"]), in_namespaces(&["other"])];
        assert_eq!(begin_all(&mut lanes, limits(3, 100)), [0, 2]);
        lanes[0].end();
        // It stays open between its scenarios.
        assert_eq!(begin_all(&mut lanes, limits(3, 100)), [0]);
        lanes[0].end();
        assert_eq!(begin_all(&mut lanes, limits(3, 100)), [1]);
    }

    #[test]
    fn one_at_a_time_is_lane_by_lane() {
        let mut lanes = [lane(&[(Takes::Room, 9); 2], 0, 0), lane(&[(Takes::Room, 10), (Takes::All, 10)], 0, 0)];
        let mut order = Vec::new();
        while let Some(index) = next(&lanes, limits(1, 100)) {
            lanes[index].begin();
            lanes[index].end();
            order.push(index);
        }
        assert_eq!(order, [1, 1, 0, 0]);
    }

    #[test]
    fn a_lane_has_one_scenario_at_a_time() {
        let mut lanes = [lane(&[(Takes::Nothing, 1), (Takes::Nothing, 1)], 0, 0)];
        assert_eq!(begin_all(&mut lanes, limits(3, 100)), [0]);
    }

    #[test]
    fn what_takes_everything_waits_for_the_others_and_nothing_runs_beside_it() {
        let mut lanes = [lane(&[(Takes::All, 90)], 0, 0), lane(&[(Takes::Room, 5), (Takes::Nothing, 5)], 0, 0)];
        assert_eq!(begin_all(&mut lanes, limits(3, 100)), [1]);
        lanes[1].end();
        assert_eq!(begin_all(&mut lanes, limits(3, 100)), [1]);
        lanes[1].end();
        assert_eq!(begin_all(&mut lanes, limits(3, 100)), [0]);
        let mut later = [lanes[0].clone(), lane(&[(Takes::Nothing, 1)], 0, 0)];
        assert_eq!(begin_all(&mut later, limits(3, 100)), [] as [usize; 0]);
    }

    #[test]
    fn node_ports_and_load_are_for_one_at_a_time() {
        for takes in [Takes::NodePorts, Takes::Load] {
            let turns = || lane(&[(takes, 5), (Takes::Room, 5)], 0, 0);
            let mut lanes = [turns(), turns()];
            assert_eq!(begin_all(&mut lanes, limits(3, 100)), [0]);
            lanes[0].end();
            assert_eq!(begin_all(&mut lanes, limits(3, 100)), [1, 0]);
        }
        let mut lanes = [lane(&[(Takes::NodePorts, 5)], 0, 0), lane(&[(Takes::Load, 5)], 0, 0)];
        assert_eq!(begin_all(&mut lanes, limits(3, 100)), [0, 1]);
    }

    #[test]
    fn pods_of_all_that_is_open_have_room_on_the_node() {
        let turns = [(Takes::Nothing, 9), (Takes::Room, 9)];
        // Together 700, and 300 more in a rollout of the first.
        let mut lanes = [lane(&turns, 400, 300), lane(&turns, 300, 100), lane(&turns, 100, 0)];
        assert_eq!(begin_all(&mut lanes, limits(3, 1000)), [0, 1]);
        lanes[0].end();
        lanes[1].end();
        // Both replace pods: 1100 is too much at a time.
        assert_eq!(begin_all(&mut lanes, limits(3, 1000)), [0]);
        lanes[0].end();
        assert_eq!(begin_all(&mut lanes, limits(3, 1000)), [1, 2]);
    }

    #[test]
    fn a_lane_that_could_not_replace_its_pods_beside_the_others_waits_for_them() {
        let turns = [(Takes::Nothing, 9), (Takes::Room, 9)];
        let mut lanes = [lane(&turns, 600, 200), lane(&turns, 250, 100)];
        assert_eq!(begin_all(&mut lanes, limits(3, 1000)), [0]);
        lanes[0].end();
        assert_eq!(begin_all(&mut lanes, limits(3, 1000)), [0]);
        lanes[0].end();
        assert_eq!(begin_all(&mut lanes, limits(3, 1000)), [1]);
    }

    #[test]
    fn what_takes_the_most_of_the_node_goes_first() {
        let mut lanes = [lane(&[(Takes::Room, 30)], 50, 10), lane(&[(Takes::Room, 20)], 400, 100)];
        assert_eq!(begin_all(&mut lanes, limits(3, 1000)), [1, 0]);
    }

    #[test]
    fn one_for_which_there_is_never_enough_room_runs_alone() {
        let mut lanes = [lane(&[(Takes::Room, 9)], 5000, 1000), lane(&[(Takes::Room, 5)], 10, 10)];
        assert_eq!(begin_all(&mut lanes, limits(3, 1100)), [0]);
        lanes[0].end();
        assert_eq!(begin_all(&mut lanes, limits(3, 1100)), [1]);
    }

    #[test]
    fn every_lane_gets_to_its_end_whatever_it_takes() {
        let all = [Takes::Nothing, Takes::Room, Takes::Load, Takes::NodePorts, Takes::All];
        for seed in 0..256_u64 {
            let pick = |n: u64| (seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n * 1_442_695)) >> 7;
            let turns = |n: u64| (0..3).map(move |k| (all[(pick(n * 3 + k) % 5) as usize], pick(k) % 9 + 1));
            let mut lanes: Vec<Lane> =
                (0..4).map(|n| lane(&turns(n).collect::<Vec<_>>(), pick(n) % 900, pick(n + 9) % 400)).collect();
            let mut ended = 0;
            loop {
                begin_all(&mut lanes, limits(3, 1000));
                let Some(one) = lanes.iter_mut().find(|lane| lane.running.is_some()) else { break };
                one.end();
                ended += 1;
            }
            assert_eq!(ended, 12, "seed {seed}");
        }
    }

    #[test]
    fn the_time_left_counts_what_runs_side_by_side_once() {
        let lanes =
            [lane(&[(Takes::Room, 30), (Takes::All, 5)], 0, 0), lane(&[(Takes::Room, 10), (Takes::Room, 10)], 0, 0)];
        assert_eq!(time_left(&lanes, limits(2, 100)), Duration::from_secs(35));
        assert_eq!(time_left(&lanes, limits(1, 100)), Duration::from_secs(55));
        assert_eq!(time_left(&[], limits(1, 100)), Duration::ZERO);
    }

    #[test]
    fn a_time_left_is_rounded() {
        let rounded = |seconds| rounded(Duration::from_secs(seconds));
        assert_eq!(
            [0, 41, 89, 90, 121].map(rounded),
            ["about 0 s", "about 50 s", "about 90 s", "about 2 min", "about 3 min"]
        );
    }
}
