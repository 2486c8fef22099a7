// The peer JGit: GitServlet on Jetty, run from source by `java -cp 'target/tools/jgit/*' GitServer.java PORT FOLDER`.
// It gives JGit what a careful administrator gives it: mapped packs, a large window cache, open repositories kept.

import java.net.InetSocketAddress;
import java.nio.file.Path;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jgit.http.server.GitServlet;
import org.eclipse.jgit.storage.file.WindowCacheConfig;
import org.eclipse.jgit.transport.ReceivePack;
import org.eclipse.jgit.transport.resolver.FileResolver;

public class GitServer {
    public static void main(String[] arguments) throws Exception {
        WindowCacheConfig cache = new WindowCacheConfig();
        cache.setPackedGitMMAP(true);
        cache.setPackedGitLimit(1L << 30);
        cache.setPackedGitWindowSize(1 << 20);
        cache.setPackedGitOpenFiles(4096);
        cache.install();

        GitServlet git = new GitServlet();
        git.setRepositoryResolver(new FileResolver<>(Path.of(arguments[1]).toFile(), true));
        // Anybody may push: the peer checks no credentials.
        git.setReceivePackFactory((request, repository) -> new ReceivePack(repository));

        ServletContextHandler context = new ServletContextHandler("/");
        context.addServlet(new ServletHolder(git), "/*");
        Server server = new Server(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0])));
        server.setHandler(context);
        server.start();
        server.join();
    }
}
