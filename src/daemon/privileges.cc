// From root to somebody who may little, with no way back.
#include "privileges.h"

#include "llm_proxy/base/strings.h"

#include <cerrno>
#include <climits>
#include <cstring>

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace llmproxy
{

namespace
{

constexpr uid_t kKeep = static_cast<uid_t>(-1);

bool parse_id(const std::string &text, uint32_t &out)
{
    uint64_t number = 0;
    if (!parse_u64(text, number) || number >= kKeep) {
        return false;
    }
    out = static_cast<uint32_t>(number);
    return true;
}

bool fail(const char *what, Error &err)
{
    err.message = std::string(what) + ": " + strerror(errno);
    return false;
}

} // namespace

// Called once each, before any thread exists.
// NOLINTBEGIN(concurrency-mt-unsafe)
bool find_identity(const std::string &user, const std::string &group,
                   Identity &out, Error &err)
{
    Identity found;
    found.wanted = !user.empty() || !group.empty();
    found.uid = geteuid();
    found.gid = getegid();
    if (!user.empty()) {
        const passwd *entry = getpwnam(user.c_str());
        if (entry == nullptr && parse_id(user, found.uid)) {
            entry = getpwuid(found.uid);
            found.gid = found.uid;
        } else if (entry == nullptr) {
            err.message = "-u " + user + ": there is no such user";
            return false;
        }
        if (entry != nullptr) {
            found.user = entry->pw_name;
            found.uid = entry->pw_uid;
            found.gid = entry->pw_gid;
        }
        if (found.uid == 0) {
            err.message = "-u " + user + ": root would keep its privileges";
            return false;
        }
    }
    if (!group.empty()) {
        const struct group *entry = getgrnam(group.c_str());
        if (entry != nullptr) {
            found.gid = entry->gr_gid;
        } else if (!parse_id(group, found.gid)) {
            err.message = "-g " + group + ": there is no such group";
            return false;
        }
    }
    out = std::move(found);
    return true;
}

bool has_identity(const Identity &identity)
{
    uid_t uid[3];
    gid_t gid[3];
    if (getresuid(&uid[0], &uid[1], &uid[2]) == -1 ||
        getresgid(&gid[0], &gid[1], &gid[2]) == -1) {
        return false;
    }
    for (int i = 0; i < 3; i++) {
        if (uid[i] != identity.uid || gid[i] != identity.gid) {
            return false;
        }
    }
    return true;
}

bool drop_privileges(const Identity &identity, Error &err)
{
    if (!identity.wanted) {
        return true;
    }
    if (!has_identity(identity)) {
        const int grouped =
            identity.user.empty()
                ? setgroups(1, &identity.gid)
                : initgroups(identity.user.c_str(), identity.gid);
        if (grouped == -1) {
            return fail("-u and -g take root: setgroups", err);
        }
        if (setresgid(identity.gid, identity.gid, identity.gid) == -1) {
            return fail("setresgid", err);
        }
        if (setresuid(identity.uid, identity.uid, identity.uid) == -1) {
            return fail("setresuid", err);
        }
    }
    if (!has_identity(identity) ||
        (identity.uid != 0 && setresuid(kKeep, 0, kKeep) != -1)) {
        err.message = "-u: root's privileges would come back";
        return false;
    }
    // Nor by a program that belongs to root.
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1) {
        return fail("no_new_privs", err);
    }
    return true;
}
// NOLINTEND(concurrency-mt-unsafe)

} // namespace llmproxy
