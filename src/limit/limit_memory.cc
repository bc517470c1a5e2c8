// Counters in memory that a new process goes on with while the old one still
// has streams to end. Who lives is told by locks on the memory's file, which
// the kernel gives back for a process that dies.
#include "limit_memory.h"

#include "llm_proxy/base/log.h"

#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace llmproxy
{

namespace
{

constexpr char kLayout[16] = "llm-proxyd 1";
constexpr size_t kPage = 4096;
// Each block of records is twice as long as the one before, so that a few
// pointers reach every slot and no record ever moves.
constexpr uint64_t kFirstBlock = 1024;
// Descriptors from here on are not in the way of those that are passed on.
constexpr int kHighFd = 100;

uint64_t block_size(size_t block)
{
    return (kFirstBlock << block) * sizeof(LimitRecord);
}

uint64_t block_offset(size_t block)
{
    return kPage + ((kFirstBlock << block) - kFirstBlock) * sizeof(LimitRecord);
}

struct Place {
    size_t block = 0;
    uint64_t index = 0;
};

Place find_place(uint32_t slot)
{
    Place place;
    place.index = slot;
    while (place.index >= kFirstBlock << place.block) {
        place.index -= kFirstBlock << place.block;
        place.block++;
    }
    return place;
}

void init_mutex(pthread_mutex_t &mutex)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

// The byte whose lock says that a process lives.
struct flock place_lock(size_t process)
{
    struct flock place = {};
    place.l_type = F_WRLCK;
    place.l_whence = SEEK_SET;
    place.l_start = static_cast<off_t>(process);
    place.l_len = 1;
    return place;
}

void *map(int fd, uint64_t size, uint64_t offset)
{
    void *at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                    static_cast<off_t>(offset));
    if (at == MAP_FAILED) {
        fatal("the limits' memory: %s", strerror(errno));
    }
    return at;
}

} // namespace

// A page of its own.
struct LimitMemory::Header {
    char layout[16];
    uint64_t record_size;
    pthread_mutex_t lock; // guards what follows
    uint64_t slots;
    bool in_use[kMaxProcesses];
};

SharedLock::SharedLock(pthread_mutex_t &mutex) : mutex_(mutex)
{
    // Each field is whole whenever its writer may have died.
    if (pthread_mutex_lock(&mutex_) == EOWNERDEAD) {
        pthread_mutex_consistent(&mutex_);
    }
}

LimitMemory::LimitMemory()
{
    create();
    if (!enter()) {
        fatal("the limits' memory: %s", strerror(errno));
    }
}

LimitMemory::~LimitMemory()
{
    leave();
    unmap();
}

void LimitMemory::create()
{
    const Fd low(memfd_create("llm-proxyd limits", MFD_CLOEXEC));
    fd_ = Fd(fcntl(low.get(), F_DUPFD_CLOEXEC, kHighFd));
    if (!fd_.valid() || ftruncate(fd_.get(), kPage) == -1) {
        fatal("the limits' memory: %s", strerror(errno));
    }
    map_header();
    memcpy(header_->layout, kLayout, sizeof(kLayout));
    header_->record_size = sizeof(LimitRecord);
    init_mutex(header_->lock);
}

void LimitMemory::map_header()
{
    static_assert(sizeof(Header) <= kPage, "it has one page");
    header_ = static_cast<Header *>(map(fd_.get(), kPage, 0));
}

void LimitMemory::unmap()
{
    for (size_t i = 0; i < blocks_.size(); i++) {
        LimitRecord *block = blocks_[i].exchange(nullptr);
        if (block != nullptr) {
            munmap(block, block_size(i));
        }
    }
    munmap(header_, kPage);
}

bool LimitMemory::adopt(Fd memory, Error &err)
{
    struct stat info = {};
    Header head{};
    if (fstat(memory.get(), &info) == -1 || info.st_size < off_t{kPage} ||
        pread(memory.get(), &head, sizeof(head), 0) !=
            static_cast<ssize_t>(sizeof(head)) ||
        memcmp(head.layout, kLayout, sizeof(kLayout)) != 0 ||
        head.record_size != sizeof(LimitRecord)) {
        err.message = "the limits' counters have another layout";
        return false;
    }
    leave();
    unmap();
    slots_.clear();
    fd_ = Fd(fcntl(memory.get(), F_DUPFD_CLOEXEC, kHighFd));
    memory.reset(); // before there are locks, which closing it would end
    if (!fd_.valid()) {
        fatal("the limits' memory: %s", strerror(errno));
    }
    map_header();
    if (!enter()) {
        err.message = "too many earlier processes have not ended yet";
        return false;
    }
    const SharedLock guard(header_->lock);
    learn_slots();
    return true;
}

bool LimitMemory::lock_place(size_t process) const
{
    struct flock place = place_lock(process);
    return fcntl(fd_.get(), F_SETLK, &place) == 0;
}

bool LimitMemory::is_alive(size_t process) const
{
    struct flock place = place_lock(process);
    return fcntl(fd_.get(), F_GETLK, &place) == -1 || place.l_type != F_UNLCK;
}

bool LimitMemory::enter()
{
    const SharedLock guard(header_->lock);
    for (process_ = 0; process_ < kMaxProcesses; process_++) {
        if (lock_place(process_)) {
            release(process_);
            header_->in_use[process_] = true;
            return true;
        }
    }
    return false;
}

void LimitMemory::leave()
{
    const SharedLock guard(header_->lock);
    if (process_ < kMaxProcesses) {
        release(process_);
    }
}

// Under the header's lock.
void LimitMemory::release(size_t process)
{
    if (!header_->in_use[process]) {
        return;
    }
    header_->in_use[process] = false;
    learn_slots();
    for (const auto &entry : slots_) {
        LimitRecord &r = record(entry.second);
        const SharedLock guard(r.lock);
        r.running -= r.running_of[process];
        r.running_of[process] = 0;
    }
}

bool LimitMemory::reclaim()
{
    const SharedLock guard(header_->lock);
    bool others = false;
    for (size_t i = 0; i < kMaxProcesses; i++) {
        if (i == process_ || !header_->in_use[i]) {
            continue;
        }
        if (is_alive(i)) {
            others = true;
        } else {
            release(i);
        }
    }
    return others;
}

LimitRecord &LimitMemory::record(uint32_t slot)
{
    const Place place = find_place(slot);
    LimitRecord *records = blocks_[place.block].load(std::memory_order_acquire);
    assert(records != nullptr);
    return records[place.index];
}

void LimitMemory::map_block(size_t block)
{
    if (blocks_[block].load(std::memory_order_relaxed) != nullptr) {
        return;
    }
    struct stat info = {};
    const auto end =
        static_cast<off_t>(block_offset(block) + block_size(block));
    if (fstat(fd_.get(), &info) == -1 ||
        (info.st_size < end && ftruncate(fd_.get(), end) == -1)) {
        fatal("the limits' memory: %s", strerror(errno));
    }
    blocks_[block].store(
        static_cast<LimitRecord *>(
            map(fd_.get(), block_size(block), block_offset(block))),
        std::memory_order_release);
}

// Under the header's lock: those that another process has added.
void LimitMemory::learn_slots()
{
    while (slots_.size() < header_->slots) {
        const auto slot = static_cast<uint32_t>(slots_.size());
        map_block(find_place(slot).block);
        slots_.emplace(record(slot).digest, slot);
    }
}

uint32_t LimitMemory::slot_of(const Sha256 &digest)
{
    const SharedLock guard(header_->lock);
    learn_slots();
    const auto next = static_cast<uint32_t>(slots_.size());
    const auto [entry, is_new] = slots_.emplace(digest, next);
    if (is_new) {
        map_block(find_place(next).block);
        LimitRecord &r = record(next);
        init_mutex(r.lock);
        r.digest = digest;
        r.minute_start_ms = kUnset;
        r.day = kUnset;
        header_->slots = next + uint64_t{1};
    }
    return entry->second;
}

const std::unordered_map<Sha256, uint32_t, DigestHash> &LimitMemory::slots()
{
    const SharedLock guard(header_->lock);
    learn_slots();
    return slots_;
}

} // namespace llmproxy
