# Measures what Python's libraries take on the GPU for softmax, the maximum of rows with its index, and the Jacobian of
# softmax, in float32; each beside a copy (for the Jacobian a fill) of as many bytes by the same library.
#
#   python3 peers.py < request.json
#
# The request, from bench/gpu.mjs, is { cases: [{ operation, shape: [rows, k] }], l2Bytes, areaBytes, rounds, seconds };
# the answer is a line of JSON for each library and each measurement. Libraries that cannot be imported, or find no GPU,
# are named with the reason.
#
# The method is that of kernels.cpp: batches of calls and of copies in turns, timed by events, enqueued while the GPU
# still spins, on inputs of four times the level-2 cache and more, random normal numbers. Two things differ. Results are
# new arrays, as these libraries have it, for which an allocator gives the same memory again and again: small ones stay
# in the cache. And JAX offers no events, so its calls are timed by the host's clock, with their launches.
import itertools
import json
import math
import os
import statistics
import sys
import time

# Memory is shared with the other libraries of this process.
os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

BATCH_SECONDS = 200e-6
CASE_SECONDS = 0.3
MOST_CALLS = 64
CLOCK = 2e9  # of the GPU, no less than it is: what spins must not end early


def traffic(operation, rows, k):
    """The bytes that must be read and written: those of softmax-native, whose indices are int32."""
    read = 4 * rows * k
    return read + {'softmax': read, 'rowMax': 8 * rows, 'softmaxJacobian': read * k}[operation]


class TorchBase:
    """PyTorch's side of the method: arrays, copies, fills, events."""

    timed_by = 'events'

    def __init__(self, request):
        import torch

        if not torch.cuda.is_available():
            raise RuntimeError('PyTorch finds no GPU')
        self.torch = torch
        self.version = torch.__version__
        self.inputs_area, self.results_area = shared_torch_areas(torch, request['areaBytes'])
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(3)]

    def inputs(self, rows, k, slots, step):
        return [self.inputs_area[i * step // 4 :][: rows * k].view(rows, k) for i in range(slots)]

    def copies(self, byte_count, slots, step):
        """A function for each slot that enqueues a copy of so many bytes."""
        sources, targets = (
            [area.view(self.torch.uint8)[i * step :][:byte_count] for i in range(slots)]
            for area in (self.inputs_area, self.results_area)
        )
        return [lambda a=a, b=b: b.copy_(a) for a, b in zip(sources, targets)]

    def fills(self, byte_count, slots, step):
        targets = [self.results_area[i * step // 4 :][: byte_count // 4] for i in range(slots)]
        return [lambda b=b: b.fill_(0.25) for b in targets]

    def spin(self, seconds):
        self.torch.cuda._sleep(int(seconds * CLOCK))

    def record(self, i):
        self.events[i].record()

    def seconds_between(self):
        self.events[2].synchronize()
        return [self.events[i].elapsed_time(self.events[i + 1]) * 1e-3 for i in (0, 1)]

    def synchronize(self):
        self.torch.cuda.synchronize()

    def forget(self):
        self.torch.cuda.empty_cache()


torch_areas = None


def shared_torch_areas(torch, byte_count):
    global torch_areas
    if torch_areas is None:
        torch_areas = tuple(torch.randn(byte_count // 4, device='cuda').mul_(3) for _ in range(2))
    return torch_areas


class PyTorch(TorchBase):
    name = 'PyTorch'

    def call_for(self, operation, shape):
        torch = self.torch

        def jacobian(x):
            p = torch.softmax(x, dim=1)
            return torch.diag_embed(p) - torch.bmm(p.unsqueeze(2), p.unsqueeze(1))

        return {
            'softmax': lambda x: torch.softmax(x, dim=1),
            'rowMax': lambda x: torch.max(x, dim=1),
            'softmaxJacobian': jacobian,
        }[operation]


class CompiledPyTorch(TorchBase):
    """torch.compile. Of the Jacobian's formulas it gets the one that it can make one kernel of."""

    name = 'torch.compile'

    def call_for(self, operation, shape):
        torch = self.torch

        def jacobian(x):
            p = torch.softmax(x, dim=1)
            return p.unsqueeze(2) * (torch.eye(p.shape[1], device=p.device) - p.unsqueeze(1))

        torch._dynamo.reset()
        call = {
            'softmax': lambda x: torch.softmax(x, dim=1),
            'rowMax': lambda x: torch.max(x, dim=1),
            'softmaxJacobian': jacobian,
        }[operation]
        return torch.compile(call, dynamic=False)


class Triton(TorchBase):
    name = 'Triton'

    def __init__(self, request):
        import triton

        super().__init__(request)
        self.version = triton.__version__

    def call_for(self, operation, shape):
        from triton_softmax import LONGEST_ROW, softmax

        return softmax if operation == 'softmax' and shape[1] <= LONGEST_ROW else None


class CuPy:
    """As a well-known tutorial on softmax in Python writes it; cp.eye makes its Jacobian float64."""

    name = 'CuPy'
    timed_by = 'events'

    def __init__(self, request):
        import cupy

        if cupy.cuda.runtime.getDeviceCount() == 0:
            raise RuntimeError('CuPy finds no GPU')
        self.cp = cupy
        self.version = cupy.__version__
        self.inputs_area, self.results_area = (
            3 * cupy.random.standard_normal(request['areaBytes'] // 4, dtype=cupy.float32) for _ in range(2)
        )
        self.events = [cupy.cuda.Event() for _ in range(3)]
        self.spinner = cupy.RawKernel(
            'extern "C" __global__ void spin(long long cycles) {'
            ' const long long begin = clock64(); while (clock64() - begin < cycles) {} }',
            'spin',
        )

    def call_for(self, operation, shape):
        cp = self.cp

        def softmax(x):
            max_x = cp.amax(x, 1).reshape(x.shape[0], 1)
            e_x = cp.exp(x - max_x)
            return e_x / e_x.sum(axis=1).reshape((-1, 1))

        def jacobian(x):
            s = softmax(x)
            a = cp.eye(s.shape[-1])
            temp1 = cp.zeros((s.shape[0], s.shape[1], s.shape[1]), dtype=cp.float32)
            temp2 = cp.zeros((s.shape[0], s.shape[1], s.shape[1]), dtype=cp.float32)
            temp1 = cp.einsum('ij,jk->ijk', s, a)
            temp2 = cp.einsum('ij,ik->ijk', s, s)
            return temp1 - temp2

        return {
            'softmax': softmax,
            'rowMax': lambda x: (cp.amax(x, 1), cp.argmax(x, 1)),
            'softmaxJacobian': jacobian,
        }[operation]

    def inputs(self, rows, k, slots, step):
        return [self.inputs_area[i * step // 4 :][: rows * k].reshape(rows, k) for i in range(slots)]

    def copies(self, byte_count, slots, step):
        stream = self.cp.cuda.get_current_stream()
        sources, targets = (
            [area[i * step // 4 :].data for i in range(slots)] for area in (self.inputs_area, self.results_area)
        )
        return [
            lambda a=a, b=b: b.copy_from_device_async(a, byte_count, stream) for a, b in zip(sources, targets)
        ]

    def fills(self, byte_count, slots, step):
        stream = self.cp.cuda.get_current_stream()
        targets = [self.results_area[i * step // 4 :].data for i in range(slots)]
        return [lambda b=b: b.memset_async(0x3F, byte_count, stream) for b in targets]

    def spin(self, seconds):
        self.spinner((1,), (1,), (self.cp.int64(int(seconds * CLOCK)),))

    def record(self, i):
        self.events[i].record()

    def seconds_between(self):
        self.events[2].synchronize()
        return [self.cp.cuda.get_elapsed_time(self.events[i], self.events[i + 1]) * 1e-3 for i in (0, 1)]

    def synchronize(self):
        self.cp.cuda.get_current_stream().synchronize()

    def forget(self):
        self.cp.get_default_memory_pool().free_all_blocks()


class Jax:
    """jax.jit of the plain formulas."""

    name = 'JAX'
    timed_by = 'host clock'

    def __init__(self, request):
        import jax

        if jax.default_backend() != 'gpu':
            raise RuntimeError('JAX finds no GPU')
        self.jax = jax
        self.version = jax.__version__
        self.times = []
        self.last = None
        self.numbers = 3 * jax.random.normal(jax.random.key(1), (request['areaBytes'] // 4,))

    def call_for(self, operation, shape):
        jax, jnp = self.jax, self.jax.numpy

        def jacobian(x):
            p = jax.nn.softmax(x, axis=1)
            return p[:, :, None] * (jnp.eye(p.shape[1], dtype=p.dtype) - p[:, None, :])

        call = jax.jit(
            {
                'softmax': lambda x: jax.nn.softmax(x, axis=1),
                'rowMax': lambda x: (jnp.max(x, axis=1), jnp.argmax(x, axis=1)),
                'softmaxJacobian': jacobian,
            }[operation]
        )
        return lambda x: self.started(call(x))

    def inputs(self, rows, k, slots, step):
        return [a.reshape(rows, k) for a in self.parts(rows * k, slots, step)]

    def copies(self, byte_count, slots, step):
        copy = self.jax.jit(self.jax.numpy.copy)
        return [lambda a=a: self.started(copy(a)) for a in self.parts(byte_count // 4, slots, step)]

    def fills(self, byte_count, slots, step):
        fill = self.jax.jit(lambda value: self.jax.numpy.full(byte_count // 4, value))
        return [lambda: self.started(fill(0.25))]

    def parts(self, count, slots, step):
        # These are copies, of which more would take more time than they are worth.
        part = self.jax.lax.dynamic_slice
        return [part(self.numbers, (i * step // 4,), (count,)) for i in range(min(slots, 64))]

    def started(self, result):
        self.last = result
        return result

    def spin(self, seconds):
        pass

    def record(self, i):
        # Calls are carried out in order: the end of the last is the end of all.
        self.synchronize()
        self.times = [*self.times[:i], time.perf_counter()]

    def seconds_between(self):
        return [self.times[i + 1] - self.times[i] for i in (0, 1)]

    def synchronize(self):
        self.jax.block_until_ready(self.last)

    def forget(self):
        self.last = None


def compare(peer, operation, shape, request):
    """Times a call and its reference as kernels.cpp does."""
    call = peer.call_for(operation, shape)
    if call is None:
        return
    rows, k = shape
    total = traffic(operation, rows, k)
    is_jacobian = operation == 'softmaxJacobian'
    reference_bytes = 4 * rows * k * k if is_jacobian else total // 2 // 4 * 4
    step = math.ceil(max(4 * rows * k, reference_bytes) / 256) * 256
    fitting = request['areaBytes'] // step
    slots = max(1, min(fitting, 4096, max(2, math.ceil(4 * request['l2Bytes'] / total))))
    inputs = peer.inputs(rows, k, slots, step)
    references = (peer.fills if is_jacobian else peer.copies)(reference_bytes, slots, step)
    next_input, next_reference = itertools.cycle(inputs), itertools.cycle(references)

    def run_call():
        call(next(next_input))

    def run_reference():
        next(next_reference)()

    right = is_right(operation, call(inputs[0]), inputs[0])

    def round_of(count, call_first, spin_seconds):
        order = (run_call, run_reference) if call_first else (run_reference, run_call)
        begin = time.perf_counter()
        peer.spin(spin_seconds)
        for i, run in enumerate(order):
            peer.record(i)
            for _ in range(count):
                run()
        peer.record(2)
        enqueued = time.perf_counter() - begin
        seconds = [s / count for s in peer.seconds_between()]
        return (seconds if call_first else seconds[::-1]), enqueued

    for call_first in (True, False, True):
        peer.synchronize()
        seconds, enqueued = round_of(2, call_first, 0)
    count = min(math.ceil(BATCH_SECONDS / max(1e-7, min(seconds))), MOST_CALLS)
    count = max(1, min(count, int(CASE_SECONDS / 10 / max(1e-7, max(seconds)))))
    # Three times as long as it took to enqueue two of each, for as many as there will be; no more than is bearable.
    spin_seconds = min(0.02, 3 * enqueued * count / 2)
    samples = []
    begin = time.perf_counter()
    while len(samples) < request['rounds'] and (
        len(samples) < 3 or time.perf_counter() - begin < CASE_SECONDS
    ):
        samples.append(round_of(count, len(samples) % 2 == 0, spin_seconds)[0])
    own, reference = (times_of(column) for column in zip(*samples))
    answer(
        type='case',
        peer=peer.name,
        operation=operation,
        shape=shape,
        timedBy=peer.timed_by,
        slots=len(inputs),
        calls=count,
        rounds=len(samples),
        microseconds=own,
        reference='fill' if is_jacobian else 'copy',
        referenceMicroseconds=reference,
        ratio=round(reference['median'] / own['median'], 4),
        right=right,
    )


def times_of(seconds):
    """The median, the 10th and the 90th of 100, in microseconds."""
    ordered = sorted(seconds)
    at = lambda share: round(1e6 * ordered[round(share * (len(ordered) - 1))], 3)
    return {'median': round(1e6 * statistics.median(ordered), 3), 'low': at(0.1), 'high': at(0.9)}


def is_right(operation, result, x):
    """Compares the first row, or the first row of the first Jacobian, with the formula."""
    logits = x[0].tolist()
    largest = max(logits)
    if operation == 'rowMax':
        values, indices = result
        return values[0].item() == largest and logits[indices[0].item()] == largest
    powers = [math.exp(v - largest) for v in logits]
    total = sum(powers)
    p = [v / total for v in powers]
    if operation == 'softmax':
        expected, got = p, result[0].tolist()
    else:
        expected, got = [p[0] * ((j == 0) - v) for j, v in enumerate(p)], result[0][0].tolist()
    # These libraries' errors are some tens of units in the last place; the diagonal loses more where p is close to 1.
    return all(abs(a - b) <= 1e-3 * abs(b) + 1e-7 for a, b in zip(got, expected, strict=True))


def answer(**line):
    print(json.dumps(line), flush=True)


def main():
    request = json.load(sys.stdin)
    deadline = time.monotonic() + request['seconds']
    # torch.compile takes seconds for each shape, so that it comes last.
    for library in (PyTorch, CuPy, Triton, Jax, CompiledPyTorch):
        if time.monotonic() > deadline:
            answer(type='late', peer=library.name, cases=len(request['cases']))
            continue
        try:
            peer = library(request)
        except Exception as error:
            answer(type='peer', peer=library.name, absent=reason_of(error))
            continue
        answer(type='peer', peer=peer.name, version=peer.version)
        for i, case in enumerate(request['cases']):
            if time.monotonic() > deadline:
                answer(type='late', peer=peer.name, cases=len(request['cases']) - i)
                break
            try:
                compare(peer, case['operation'], case['shape'], request)
            except Exception as error:
                answer(type='failure', peer=peer.name, **case, reason=reason_of(error))
            peer.forget()


def reason_of(error):
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


main()
