/* Plays NVIDIA's driver library for one process: device memory lies in the host's.
 *
 * Held to the driver API's reference (docs.nvidia.com/cuda/cuda-driver-api): nothing works
 * before cuInit and a current context; copies stay within one allocation and on a stream that
 * exists; what is copied out arrives only when the stream is synchronised.
 * CUDA_DEVICES: how many there are (1). CUDA_SM: compute capability, e.g. 53.
 * DEVICE_TRANSCRIPT: a file to which each call is appended.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
       INVALID_CONTEXT = 201, INVALID_HANDLE = 400, MOST = 1024 };
static int initialised, current, blocks, waiting;
static char context, stream;
static struct { uint64_t at; size_t bytes; } block[MOST];
static struct { void *to; uint64_t from; size_t bytes; } copy[MOST];

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

void played(const char *format, ...) {
    const char *path = getenv("DEVICE_TRANSCRIPT");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    va_list more;
    va_start(more, format);
    vfprintf(file, format, more);
    va_end(more);
    fputc('\n', file);
    fclose(file);
}

/* Number of the allocation that holds these bytes, 0: none does. */
int played_block(uint64_t at, size_t bytes) {
    for (int n = 0; n < blocks; n++)
        if (at >= block[n].at && at + bytes <= block[n].at + block[n].bytes) return n + 1;
    return 0;
}

int played_stream(void *which) { return which == &stream; }

static int ready(void) {
    if (!initialised) return NOT_INITIALIZED;
    return current ? OK : INVALID_CONTEXT;
}

int cuInit(unsigned flags) {
    played("cuInit %u", flags);
    if (flags) return INVALID_VALUE;
    if (!number("CUDA_DEVICES", 1)) return NO_DEVICE;
    initialised = 1;
    return OK;
}

int cuDeviceGetCount(int *count) {
    *count = number("CUDA_DEVICES", 1);
    return initialised ? OK : NOT_INITIALIZED;
}

int cuDeviceGet(int *device, int ordinal) {
    if (!initialised) return NOT_INITIALIZED;
    if (ordinal < 0 || ordinal >= number("CUDA_DEVICES", 1)) return INVALID_DEVICE;
    *device = ordinal;
    return OK;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (!initialised) return NOT_INITIALIZED;
    if (device || (attribute != 75 && attribute != 76)) return INVALID_VALUE;
    int sm = number("CUDA_SM", 53);
    *value = attribute == 75 ? sm / 10 : sm % 10;
    return OK;
}

int cuDevicePrimaryCtxRetain(void **found, int device) {
    played("cuDevicePrimaryCtxRetain %d", device);
    if (!initialised) return NOT_INITIALIZED;
    if (device) return INVALID_DEVICE;
    *found = &context;
    return OK;
}

int cuCtxSetCurrent(void *which) {
    if (!initialised) return NOT_INITIALIZED;
    if (which != &context) return INVALID_CONTEXT;
    current = 1;
    return OK;
}

int cuStreamCreate(void **found, unsigned flags) {
    played("cuStreamCreate %u", flags);
    if (flags > 1) return INVALID_VALUE;
    *found = &stream;
    return ready();
}

int cuMemAlloc_v2(uint64_t *at, size_t bytes) {
    played("cuMemAlloc_v2 %zu", bytes);
    if (!bytes || blocks == MOST) return INVALID_VALUE;
    if (ready()) return ready();
    block[blocks].at = *at = (uint64_t)(uintptr_t)calloc(bytes, 1);
    block[blocks++].bytes = bytes;
    return OK;
}

int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *on) {
    played("cuMemcpyHtoDAsync_v2 #%d %zu", played_block(to, bytes), bytes);
    if (!played_block(to, bytes)) return INVALID_VALUE;
    if (!played_stream(on)) return INVALID_HANDLE;
    memcpy((void *)(uintptr_t)to, from, bytes);
    return ready();
}

int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *on) {
    played("cuMemcpyDtoHAsync_v2 #%d %zu", played_block(from, bytes), bytes);
    if (!played_block(from, bytes) || waiting == MOST) return INVALID_VALUE;
    if (!played_stream(on)) return INVALID_HANDLE;
    copy[waiting].to = to;
    copy[waiting].from = from;
    copy[waiting++].bytes = bytes;
    return ready();
}

int cuStreamSynchronize(void *which) {
    played("cuStreamSynchronize");
    if (!played_stream(which)) return INVALID_HANDLE;
    for (int n = 0; n < waiting; n++)
        memcpy(copy[n].to, (void *)(uintptr_t)copy[n].from, copy[n].bytes);
    waiting = 0;
    return ready();
}

int cuGetErrorString(int status, const char **text) {
    *text = status == NO_DEVICE ? "no CUDA-capable device is detected" : "invalid argument";
    return OK;
}
