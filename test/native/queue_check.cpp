// Jobs in the work queue of the addon, as environments use it: submitted from several threads at once, stopped while they
// wait or run, and removed, after which their memory is gone. What is computed must have the bits of the same call made
// alone. Built with sanitizers it shows races, and memory that is used after its end (test/sanitizers).
//
//   queue_check [rounds]       exit code 1 where a result differs or a job is lost
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "addon/work_queue.h"
#include "cpu/cpu.h"
#include "golden.h"

using namespace softmax_native;
using addon::Lane;
using addon::WorkQueue;

namespace {

constexpr int kCallers = 4;
constexpr int kThreads = 3;  // of the queue that may have several
constexpr int64_t kRows = 2000, kClasses = 100;

struct Softmax : WorkQueue::Job {
  Softmax(const std::vector<float>& logits, Lane lane)
      : WorkQueue::Job(std::make_shared<Control>(), 2 * static_cast<int64_t>(logits.size() * sizeof(float))),
        x(logits),
        y(logits.size()),
        threads(lane == Lane::team_calls ? 2 : 1) {}
  void run() override { status = cpu::softmax(x.data(), y.data(), {kRows, kClasses, 1}, threads, true, control.get()); }
  void done() override { is_done = true; }

  const std::vector<float>& x;
  std::vector<float> y;
  const int threads;
  cpu::Status status = cpu::Status::ok;
  std::atomic<bool> is_done{false};
};

void wait_for(const Softmax& job) {
  while (!job.is_done) std::this_thread::yield();
}

// Returns how much is wrong.
int call(const std::vector<float>& x, const std::vector<float>& expected, int caller, int rounds) {
  int wrong = 0;
  for (int round = 0; round < rounds; round++) {
    const Lane lane = (caller + round) % 2 == 0 ? Lane::one_thread_calls : Lane::team_calls;
    WorkQueue& queue = addon::work_queue(lane);
    std::vector<std::unique_ptr<Softmax>> jobs;
    for (int i = 0; i < 6; i++) {
      jobs.push_back(std::make_unique<Softmax>(x, lane));
      if (!queue.submit(jobs.back().get())) wrong++;
    }
    // The end of an environment: what is removed is gone at once.
    queue.remove(*jobs[0]->control);
    jobs[0].reset();
    queue.remove(*jobs[5]->control);
    jobs[5].reset();
    // A signal: a job that waits is handed back, others are done soon.
    const Control& stopped = *jobs[4]->control;
    const bool handed_back = queue.stop(stopped) != nullptr;
    if (!handed_back) wait_for(*jobs[4]);
    for (int i = 1; i < 4; i++) {
      wait_for(*jobs[i]);
      if (jobs[i]->status != cpu::Status::ok || jobs[i]->y != expected) wrong++;
      if (jobs[i]->control->done < kRows * kClasses / 2) wrong++;
    }
    // done() is the last that the queue has to do with a job, but it may not have returned yet.
    for (int i = 1; i < 5; i++) queue.remove(*jobs[i]->control);
  }
  return wrong;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 20;
  // Not freed: a job of which nobody waits for the end reads it until the process ends.
  std::vector<float>& x = *new std::vector<float>(static_cast<size_t>(kRows * kClasses));
  for (size_t i = 0; i < x.size(); i++) x[i] = golden_input<float>(1, i, 5);
  std::vector<float> expected(x.size());
  if (cpu::softmax(x.data(), expected.data(), {kRows, kClasses, 1}, 1) != cpu::Status::ok) return 1;

  addon::work_queue(Lane::one_thread_calls).set_threads(kThreads);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; caller++) {
    callers.emplace_back([&, caller] { wrong += call(x, expected, caller, rounds); });
  }
  for (std::thread& caller : callers) caller.join();
  // The process ends while some jobs run and another waits.
  for (int i = 0; i < kThreads + 1; i++) {
    if (!addon::work_queue(Lane::one_thread_calls).submit(new Softmax(x, Lane::one_thread_calls))) wrong++;
  }
  std::printf("%d callers, %d rounds of 6 jobs: %d wrong\n", kCallers, rounds, static_cast<int>(wrong));
  return wrong == 0 ? 0 : 1;
}
