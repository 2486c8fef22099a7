// JGit as a Git client: verbs on standard input, answers on standard output. See tests/clients/README.md.
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.StringJoiner;
import org.eclipse.jgit.api.CloneCommand;
import org.eclipse.jgit.api.FetchCommand;
import org.eclipse.jgit.api.Git;
import org.eclipse.jgit.api.PushCommand;
import org.eclipse.jgit.api.TransportCommand;
import org.eclipse.jgit.lib.Constants;
import org.eclipse.jgit.lib.NullProgressMonitor;
import org.eclipse.jgit.lib.ObjectId;
import org.eclipse.jgit.lib.PersonIdent;
import org.eclipse.jgit.lib.Ref;
import org.eclipse.jgit.lib.StoredConfig;
import org.eclipse.jgit.transport.FilterSpec;
import org.eclipse.jgit.transport.PushResult;
import org.eclipse.jgit.transport.RefSpec;
import org.eclipse.jgit.transport.RemoteRefUpdate;
import org.eclipse.jgit.transport.SshSessionFactory;
import org.eclipse.jgit.transport.TagOpt;
import org.eclipse.jgit.transport.Transport;
import org.eclipse.jgit.transport.URIish;
import org.eclipse.jgit.transport.UsernamePasswordCredentialsProvider;
import org.eclipse.jgit.transport.sshd.SshdSessionFactory;
import org.eclipse.jgit.transport.sshd.SshdSessionFactoryBuilder;

public final class Client {
  private static final PersonIdent WHO = new PersonIdent("Test User", "test@example.com");

  public static void main(String[] arguments) throws Exception {
    String key = System.getenv("CLIENT_KEY");
    if (key != null) {
      SshSessionFactory.setInstance(ssh(Path.of(key)));
    }
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String answer;
      try {
        String text = answer(line.split("\t", -1));
        answer = text == null ? "cannot\t" : "ok\t" + text;
      } catch (Exception error) {
        answer = "no\t" + reasons(error);
      }
      System.out.println(answer.replace('\n', ' ').replace('\r', ' '));
    }
    System.exit(0);
  }

  /** Keys and hosts of the test alone: the home has an .ssh folder with `known_hosts`, written by the test. */
  private static SshdSessionFactory ssh(Path key) {
    File home = new File(System.getProperty("user.home"));
    return new SshdSessionFactoryBuilder()
        .setPreferredAuthentications("publickey")
        .setHomeDirectory(home)
        .setSshDirectory(new File(home, ".ssh"))
        .setConfigFile(directory -> null)
        .setDefaultIdentities(directory -> List.of(key))
        .build(null);
  }

  private static String reasons(Throwable error) {
    StringJoiner text = new StringJoiner(": ");
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      text.add(String.valueOf(cause.getMessage()));
    }
    return text.toString();
  }

  private static String answer(String[] words) throws Exception {
    switch (words[0]) {
      case "init":
        return init(words[1], words[2]);
      case "clone":
        return words[4].isEmpty() ? whole(words[1], words[2], words[3]) : partial(words[1], words[2], words[4]);
      case "fetch":
        return fetch(words[1], words[2]);
      case "commit":
        return commit(words[1], words[2]);
      case "tag":
        return tag(words[1], words[2]);
      case "push":
        return push(words[1], List.of(words).subList(2, words.length));
      case "refs":
        return refs(words[1]);
      default:
        return null;
    }
  }

  private static <C extends TransportCommand<C, ?>> C known(C command) {
    if (System.getenv("CLIENT_KEY") == null) {
      command.setCredentialsProvider(password());
    }
    return command;
  }

  private static UsernamePasswordCredentialsProvider password() {
    return new UsernamePasswordCredentialsProvider(System.getenv("CLIENT_USER"), System.getenv("CLIENT_PASSWORD"));
  }

  private static String init(String url, String folder) throws Exception {
    try (Git git = Git.init().setDirectory(new File(folder)).setInitialBranch("main").call()) {
      git.remoteAdd().setName("origin").setUri(new URIish(url)).call();
      return "";
    }
  }

  private static String whole(String url, String folder, String depth) throws Exception {
    CloneCommand clone = known(Git.cloneRepository().setURI(url).setDirectory(new File(folder)));
    if (!depth.equals("0")) {
      clone.setDepth(Integer.parseInt(depth));
    }
    try (Git git = clone.call()) {
      return id(git.getRepository().resolve(Constants.HEAD));
    }
  }

  /** JGit reads no promised objects later on, so that nothing is checked out; its porcelain has no filter, its transport has. */
  private static String partial(String url, String folder, String filter) throws Exception {
    init(url, folder);
    try (Git git = Git.open(new File(folder))) {
      StoredConfig config = git.getRepository().getConfig();
      config.setInt("core", null, "repositoryformatversion", 1);
      config.setString("extensions", null, "partialClone", "origin");
      config.setBoolean("remote", "origin", "promisor", true);
      config.setString("remote", "origin", "partialclonefilter", filter);
      config.save();
      try (Transport transport = Transport.open(git.getRepository(), "origin")) {
        if (System.getenv("CLIENT_KEY") == null) {
          transport.setCredentialsProvider(password());
        }
        transport.setFilterSpec(FilterSpec.fromFilterLine(filter));
        transport.fetch(NullProgressMonitor.INSTANCE, List.of(new RefSpec("+refs/heads/*:refs/remotes/origin/*")));
      }
      return id(git.getRepository().resolve("refs/remotes/origin/main"));
    }
  }

  private static String fetch(String folder, String depth) throws Exception {
    try (Git git = Git.open(new File(folder))) {
      FetchCommand fetch = known(git.fetch().setTagOpt(TagOpt.FETCH_TAGS));
      if (!depth.equals("0")) {
        fetch.setDepth(Integer.parseInt(depth));
      }
      fetch.call();
      return "";
    }
  }

  private static String commit(String folder, String message) throws Exception {
    try (Git git = Git.open(new File(folder))) {
      git.add().addFilepattern(".").call();
      return id(git.commit().setMessage(message).setAuthor(WHO).setCommitter(WHO).setSign(false).call());
    }
  }

  private static String tag(String folder, String name) throws Exception {
    try (Git git = Git.open(new File(folder))) {
      Ref made = git.tag().setName(name).setMessage("Release " + name).setTagger(WHO).setAnnotated(true).setSigned(false).call();
      return id(made.getObjectId());
    }
  }

  private static String push(String folder, List<String> specs) throws Exception {
    try (Git git = Git.open(new File(folder))) {
      PushCommand push = known(git.push());
      push.setRefSpecs(specs.stream().map(RefSpec::new).toList());
      List<String> refused = new ArrayList<>();
      for (PushResult result : push.call()) {
        for (RemoteRefUpdate update : result.getRemoteUpdates()) {
          if (update.getStatus() != RemoteRefUpdate.Status.OK && update.getStatus() != RemoteRefUpdate.Status.UP_TO_DATE) {
            refused.add(update.getRemoteName() + ": " + update.getStatus() + " " + update.getMessage());
          }
        }
      }
      if (!refused.isEmpty()) {
        throw new IllegalStateException(String.join(" ", refused));
      }
      return "";
    }
  }

  private static String refs(String url) throws Exception {
    StringJoiner lines = new StringJoiner(" ");
    for (Ref found : known(Git.lsRemoteRepository().setRemote(url).setHeads(false).setTags(false)).call()) {
      lines.add(id(found.getObjectId()) + " " + found.getName());
    }
    return lines.toString();
  }

  private static String id(ObjectId id) {
    return id == null ? "" : id.name();
  }
}
